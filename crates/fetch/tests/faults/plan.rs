//! What the plan opens, and when.

use crate::*;

// Row 24.
#[tokio::test]
async fn a_day_without_a_session_costs_no_call() {
    let provider = serve(|_, _| json(page("AAPL", ""))).await;
    let polygon = provider.polygon();
    for ask in [day("2025-12-25"), day("2025-12-20"), range("A", Timeframe::Day, "2025-12-20", "2025-12-21")]
    {
        let fetched = polygon.fetch(&ask, NOW).await.unwrap();
        assert_eq!((fetched.calls, fetched.block.count_bars()), (0, 0));
    }
    assert_eq!(polygon.open_close(&symbol("A"), date("2025-12-25"), false, NOW).await, Ok(None));
    assert!(provider.asked().is_empty());
    // and where the calendar does not know better, both answers mean empty
    let holiday =
        "{\"success\":false,\"status\":\"ERROR\",\"errorcode\":\"001\",\"error\":\"Unknown database error\"}";
    let provider = serve(move |_, _| answer(StatusCode::NOT_FOUND, holiday)).await;
    assert_eq!(provider.polygon().open_close(&symbol("A"), date("2025-12-16"), false, NOW).await, Ok(None));
    assert_eq!(provider.asked().len(), 1);
}

// Row 25.
#[tokio::test]
async fn the_plans_window_is_learned_from_the_first_refusal_and_kept_to() {
    let provider = serve(|asked, _| match asked.path.rsplit('/').next().unwrap() {
        date if date < "2023-12-31" => answer(StatusCode::FORBIDDEN, TOO_OLD),
        _ => json(page("AAPL", "")),
    })
    .await;
    let hands = Hands::at("2025-12-31T23:00:00Z");
    let polygon = with_clock(&provider.url, &hands);
    let error = polygon.fetch(&day("2022-06-08"), NOW).await.unwrap_err();
    let SourceError::OutsidePlan { from: Some(from), until: None, .. } = error else { panic!("{error:?}") };
    assert_eq!(from, date("2023-12-28"), "where the next shorter plan begins");
    for old in ["2022-06-08", "2021-01-04", "2015-01-05"] {
        assert!(matches!(polygon.fetch(&day(old), NOW).await, Err(SourceError::OutsidePlan { .. })));
    }
    assert_eq!(provider.asked().len(), 1, "neither retried nor asked for again");
    assert!(polygon.fetch(&day("2024-01-02"), NOW).await.is_ok());
    // a day ahead is refused with the same words and says nothing of the past
    let ahead = polygon.fetch(&day("2026-01-02"), NOW).await;
    assert!(ahead.is_ok(), "{ahead:?}");
    // the plan may have been changed since
    hands.set("2026-01-02T23:00:00Z");
    assert!(matches!(polygon.fetch(&day("2015-01-05"), NOW).await, Err(SourceError::OutsidePlan { .. })));
    assert_eq!(provider.asked().len(), 4);
}

// Row 26.
#[tokio::test]
async fn todays_data_is_asked_for_again_after_the_close() {
    let provider = serve(|_, n| match n {
        0 => answer(StatusCode::FORBIDDEN, TOO_EARLY),
        _ => json(page("AAPL", "")),
    })
    .await;
    let hands = Hands::at("2025-12-16T19:00:00Z");
    let polygon = with_clock(&provider.url, &hands);
    for _ in 0..3 {
        let error = polygon.fetch(&day("2025-12-16"), NOW).await.unwrap_err();
        let SourceError::NotYet { retry_at, .. } = error else { panic!("{error:?}") };
        assert_eq!(retry_at, "2025-12-16T21:00:00Z".parse().unwrap());
    }
    assert_eq!(provider.asked().len(), 1);
    hands.set("2025-12-16T21:00:00Z");
    assert!(polygon.fetch(&day("2025-12-16"), NOW).await.is_ok());
}

// Row 27.
#[tokio::test]
async fn not_authorized_is_a_refusal_whatever_the_status_of_the_answer() {
    for status in [StatusCode::OK, StatusCode::FORBIDDEN] {
        let words = "{\"status\":\"NOT_AUTHORIZED\",\"message\":\"You are not entitled to this data.\"}";
        let provider = serve(move |_, _| answer(status, words)).await;
        let polygon = provider.polygon();
        for _ in 0..2 {
            let error = polygon.fetch(&day("2025-12-16"), NOW).await.unwrap_err();
            assert!(matches!(error, SourceError::NotEntitled { .. }), "{error:?}");
        }
        assert_eq!(provider.asked().len(), 1, "remembered");
        let error = polygon.snapshot_one(&symbol("A"), NOW).await.unwrap_err();
        assert!(matches!(error, SourceError::NotEntitled { .. }));
        assert_eq!(provider.asked().len(), 2, "of that kind of data only");
    }
}

// Row 28.
#[tokio::test]
async fn delayed_answers_are_data_and_are_known_to_be_late() {
    let provider = serve(|_, n| match n {
        0 => json(page("AAPL", "").replace("\"OK\"", "\"DELAYED\"")),
        _ => json(page("AAPL", "")),
    })
    .await;
    let polygon = provider.polygon();
    assert!(!polygon.is_delayed());
    assert_eq!(polygon.fetch(&day("2025-12-16"), NOW).await.unwrap().block.count_bars(), 1);
    assert!(polygon.is_delayed());
    polygon.fetch(&day("2025-12-16"), NOW).await.unwrap();
    assert!(!polygon.is_delayed());
}

#[tokio::test]
async fn the_calendar_stays_in_force_and_differences_are_named() {
    let provider = serve(|_, _| {
        json(
            "[{\"exchange\":\"NYSE\",\"name\":\"New Years Day\",\"date\":\"2026-01-01\",\"status\":\"closed\"},\
             {\"exchange\":\"NYSE\",\"name\":\"Mourning\",\"date\":\"2026-01-06\",\"status\":\"closed\"},\
             {\"exchange\":\"NYSE\",\"status\":\"closed\"}]",
        )
    })
    .await;
    let polygon = provider.polygon();
    let found: Vec<String> =
        polygon.calendar_differences().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("2026-01-06") && found[0].contains("Mourning"), "{found:?}");
}
