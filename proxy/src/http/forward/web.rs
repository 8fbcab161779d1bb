//! Heads of gRPC-Web: as gRPC to the endpoint, and back.

use super::super::grpc::{GRPC, Web, value_of};
use super::super::h1::head::{Field, Framing, Known};
use super::super::h1::serve::Scratch;
use super::super::h1::write::line;

/// Makes the head of a request, which is in the scratch, one of gRPC.
pub(super) fn of_client(scratch: &mut Scratch, bytes: &[u8], form: Web) {
    let head = &mut scratch.head;
    let suffix = suffix(&head.fields, bytes, form.content_type());
    let value = [GRPC, suffix].concat();
    drop_named(&mut head.fields, bytes, b"content-type");
    if form == Web::Text && head.framing != Framing::None {
        // It becomes shorter on its way.
        drop_length(&mut head.fields);
        head.framing = Framing::Chunked;
    }
    line(&mut scratch.extra, b"Content-Type", &value);
}

/// Makes the head of an answer, which is in the scratch, one of gRPC-Web.
pub(super) fn of_endpoint(scratch: &mut Scratch, bytes: &[u8], form: Web) {
    let head = &mut scratch.response;
    let suffix = suffix(&head.fields, bytes, GRPC);
    let value = [form.content_type(), suffix].concat();
    drop_named(&mut head.fields, bytes, b"content-type");
    if head.framing != Framing::None {
        drop_length(&mut head.fields);
        head.framing = Framing::Chunked;
    }
    line(&mut scratch.extra, b"Content-Type", &value);
}

/// What stands behind the type: `+proto`, or parameters.
fn suffix<'a>(fields: &[Field], bytes: &'a [u8], kind: &[u8]) -> &'a [u8] {
    let value = value_of(fields, bytes, b"content-type").unwrap_or_default();
    value.get(kind.len()..).unwrap_or_default()
}

fn drop_named(fields: &mut [Field], bytes: &[u8], name: &[u8]) {
    for field in fields {
        field.drop |= field.name.get(bytes).eq_ignore_ascii_case(name);
    }
}

fn drop_length(fields: &mut [Field]) {
    for field in fields {
        field.drop |= field.known == Known::ContentLength;
    }
}
