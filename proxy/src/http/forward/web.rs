//! Heads of gRPC-Web: as gRPC to the endpoint, and back.

use super::super::grpc::{Web, value_of};
use super::super::h1::head::{Field, Framing, Known};
use super::super::h1::serve::Scratch;
use super::super::h1::write::line;

/// Makes the head of a request, which is in the scratch, one of gRPC.
pub(super) fn of_client(scratch: &mut Scratch, bytes: &[u8], form: Web) {
    let head = &mut scratch.head;
    let asked = match form {
        Web::Binary => "application/grpc-web",
        Web::Text => "application/grpc-web-text",
    };
    let suffix = suffix(&head.fields, bytes, asked.len()).to_vec();
    drop_fields(&mut head.fields, bytes);
    if form == Web::Text && head.framing != Framing::None {
        // It becomes shorter on its way.
        drop_length(&mut head.fields);
        head.framing = Framing::Chunked;
    }
    let value = [b"application/grpc", &suffix[..]].concat();
    line(&mut scratch.extra, b"Content-Type", &value);
}

/// Makes the head of an answer, which is in the scratch, one of gRPC-Web.
pub(super) fn of_endpoint(scratch: &mut Scratch, bytes: &[u8], form: Web) {
    let head = &mut scratch.response;
    let suffix = suffix(&head.fields, bytes, "application/grpc".len()).to_vec();
    drop_fields(&mut head.fields, bytes);
    if head.framing != Framing::None {
        drop_length(&mut head.fields);
        head.framing = Framing::Chunked;
    }
    let form: &[u8] = match form {
        Web::Binary => b"application/grpc-web",
        Web::Text => b"application/grpc-web-text",
    };
    line(
        &mut scratch.extra,
        b"Content-Type",
        &[form, &suffix].concat(),
    );
}

/// What stands behind the type: `+proto`, or parameters.
fn suffix<'a>(fields: &[Field], bytes: &'a [u8], skip: usize) -> &'a [u8] {
    let value = value_of(fields, bytes, b"content-type").unwrap_or_default();
    value.get(skip..).unwrap_or_default()
}

fn drop_fields(fields: &mut [Field], bytes: &[u8]) {
    for field in fields {
        let name = field.name.get(bytes);
        field.drop |= name.eq_ignore_ascii_case(b"content-type");
    }
}

fn drop_length(fields: &mut [Field]) {
    for field in fields {
        field.drop |= field.known == Known::ContentLength;
    }
}
