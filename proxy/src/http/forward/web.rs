//! Heads of gRPC-Web: as gRPC to the endpoint, and back.

use super::super::grpc::{self, GRPC, Kind, Web, value_of};
use super::super::h1::head::{Field, Framing, Known, Span};
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

/// Whether an answer, whose head is in the scratch, is one of gRPC.
pub(super) fn is_call(scratch: &Scratch, bytes: &[u8]) -> bool {
    let value = value_of(&scratch.response.fields, bytes, b"content-type");
    value.map(Kind::of_content_type) == Some(Kind::Grpc)
}

/// Makes the head of an answer of gRPC, which is in the scratch, one of gRPC-Web.
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

/// The same of an answer that is none of gRPC: how the call ended follows from its status of HTTP (gRPC,
/// `http-grpc-status-mapping.md`), unless it says that itself. The body is nothing that the caller can read, and is left
/// out.
#[cold]
pub(super) fn of_stranger(scratch: &mut Scratch, bytes: &[u8], form: Web) -> u8 {
    let (head, extra) = (&mut scratch.response, &mut scratch.extra);
    let said = value_of(&head.fields, bytes, b"grpc-status").map(grpc::parse_status);
    let status = said.unwrap_or_else(|| grpc::status_of_http(head.status));
    drop_named(&mut head.fields, bytes, b"content-type");
    drop_named(&mut head.fields, bytes, b"content-encoding");
    drop_length(&mut head.fields);
    line(extra, b"Content-Type", form.content_type());
    line(extra, b"Content-Length", b"0");
    if said.is_none() {
        let why = format!(
            "the endpoint answered with {}, and not as gRPC",
            head.status
        );
        grpc::push_status(extra, status, &why);
    }
    (head.status, head.reason, head.framing) = (200, Span::default(), Framing::None);
    status
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
