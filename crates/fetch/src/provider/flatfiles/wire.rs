//! The HTTP client under the object store: the same library as for every other call, so that there is one.
//!
//! Not here: signatures, retries and what an answer means, which are the object store's.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Url};

use super::FlatFilesConfig;
use crate::client::{causes, is_loopback};
use crate::error::FetchError;

/// A client that is handed to the object store.
#[derive(Clone)]
pub(super) struct Wire(Client);

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    /// Redirects are refused, and bytes come as they are stored: the files are compressed themselves.
    pub(super) fn build(endpoint: &Url, config: &FlatFilesConfig) -> Result<Self, FetchError> {
        // Fails only when the process has chosen one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(&config.user_agent)
            .redirect(Policy::none())
            .referer(false)
            .pool_max_idle_per_host(config.max_pool_size)
            .connect_timeout(config.connect_timeout)
            .read_timeout(config.read_timeout)
            .timeout(config.total_timeout);
        if endpoint.scheme() == "http" {
            // No call is ever made to another origin, so that a machine without root certificates will do.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(endpoint) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| FetchError::Client { message: causes(&error) })?;
        Ok(Self(client))
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Interrupted
    };
    HttpError::new(kind, error.without_url())
}

impl HttpService for Wire {
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let url = Url::parse(&parts.uri.to_string())
                .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
            let mut sent = reqwest::Request::new(parts.method, url);
            *sent.headers_mut() = parts.headers;
            if let Some(bytes) = body.as_bytes().filter(|bytes| !bytes.is_empty()) {
                *sent.body_mut() = Some(Body::from(bytes.clone()));
            }
            let answer = self.0.execute(sent).await.map_err(failed)?;
            let (parts, body) = http::Response::<Body>::from(answer).into_parts();
            let body = HttpResponseBody::new(body.map_err(failed));
            Ok(HttpResponse::from_parts(parts, body))
        })
    }
}
