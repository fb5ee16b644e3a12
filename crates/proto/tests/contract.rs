//! The compiled contract is the one on disk, and none of its names, numbers or types has moved.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn compiled_in() -> FileDescriptorSet {
    FileDescriptorSet::decode(panscan_proto::FILE_DESCRIPTOR_SET).unwrap()
}

/// Every message field, enum value and method of a file, one line each.
fn lines(file: &FileDescriptorProto) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let package = file.package();
    file.message_type.iter().for_each(|m| message(package, m, &mut lines));
    file.enum_type.iter().for_each(|e| enumeration(package, e, &mut lines));
    for service in &file.service {
        for method in &service.method {
            lines.insert(format!(
                "rpc {package}.{}/{} {} {} -> {} {}",
                service.name(),
                method.name(),
                method.client_streaming(),
                method.input_type(),
                method.output_type(),
                method.server_streaming()
            ));
        }
    }
    lines
}

fn message(scope: &str, message_type: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let name = format!("{scope}.{}", message_type.name());
    lines.insert(format!("message {name}"));
    for field in &message_type.field {
        let oneof = field.oneof_index.map(|i| message_type.oneof_decl[i as usize].name().to_owned());
        lines.insert(format!(
            "field {name}.{} = {} {:?} {:?} {} {:?} {} {}",
            field.name(),
            field.number(),
            field.label(),
            field.r#type(),
            field.type_name(),
            oneof,
            field.proto3_optional(),
            field.json_name()
        ));
    }
    message_type.nested_type.iter().for_each(|m| self::message(&name, m, lines));
    message_type.enum_type.iter().for_each(|e| enumeration(&name, e, lines));
}

fn enumeration(scope: &str, enum_type: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &enum_type.value {
        lines.insert(format!("enum {scope}.{}.{} = {}", enum_type.name(), value.name(), value.number()));
    }
}

fn ours(set: &FileDescriptorSet) -> BTreeSet<String> {
    set.file.iter().filter(|f| f.package() == "panscan.v1").flat_map(lines).collect()
}

#[test]
fn the_descriptor_set_is_that_of_the_files_on_disk() {
    let proto = root().join("proto");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(proto.join("panscan/v1")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert_eq!(protox::compile(&files, [&proto]).unwrap(), compiled_in());
}

#[test]
fn there_is_one_file_a_service_and_it_brings_its_imports() {
    let set = compiled_in();
    let names: BTreeSet<&str> = set.file.iter().map(FileDescriptorProto::name).collect();
    for service in ["scanner", "market_data", "indicators", "universes", "signals", "admin"] {
        let name = format!("panscan/v1/{service}.proto");
        let file = set.file.iter().find(|f| f.name() == name).unwrap();
        assert_eq!(file.service.len(), 1, "{name}");
        for import in &file.dependency {
            assert!(names.contains(import.as_str()), "{name} imports {import}");
        }
    }
}

#[test]
fn every_enum_starts_at_unspecified() {
    for line in ours(&compiled_in()).iter().filter(|l| l.starts_with("enum ") && l.ends_with(" = 0")) {
        assert!(line.contains("_UNSPECIFIED"), "{line}");
    }
}

#[test]
fn names_numbers_and_types_are_those_of_the_specification() {
    let folder = root().join("../shared");
    let specification = folder.join("panscan.proto");
    if !specification.exists() {
        println!("skipped: names_numbers_and_types_are_those_of_the_specification (no panscan.proto)");
        return;
    }
    let theirs = protox::compile([&specification], [&folder]).unwrap();
    let (theirs, ours) = (self::ours(&theirs), ours(&compiled_in()));
    // The contract may grow; what is in it stays.
    let gone: Vec<_> = theirs.difference(&ours).collect();
    assert!(gone.is_empty(), "missing or changed: {gone:#?}");
    assert!(theirs.len() > 400, "{}", theirs.len());
}
