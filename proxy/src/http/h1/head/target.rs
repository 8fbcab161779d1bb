//! The target of a request, and its Host.

use super::{HeadError, HostSource, Method, RequestHead, Span, Target};

pub(super) fn read_target(
    whole: &[u8],
    target: &[u8],
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    if !target.iter().all(|b| TARGET[usize::from(*b)]) {
        return Err(HeadError::Target(
            "it holds a fragment, a control or a non-ASCII character",
        ));
    }
    if target == b"*" {
        head.target = Target {
            path: Span::of(whole, target),
            query: None,
        };
        return match head.kind {
            Method::Options => Ok(()),
            _ => Err(HeadError::Target("* is for OPTIONS only")),
        };
    }
    let local = match target.first() {
        Some(b'/') => target,
        _ => read_absolute(whole, target, head)?,
    };
    let (path, query) = match memchr::memchr(b'?', local) {
        Some(at) => (&local[..at], Some(Span::of(whole, &local[at + 1..]))),
        None => (local, None),
    };
    head.target = Target {
        path: Span::of(whole, path),
        query,
    };
    Ok(())
}

/// Splits `http://authority/path`; the authority must say what Host says (RFC 9112, section 3.2.2,
/// would have it replace Host; two that differ are an attack more often than a need).
fn read_absolute<'a>(
    whole: &[u8],
    target: &'a [u8],
    head: &mut RequestHead,
) -> Result<&'a [u8], HeadError> {
    let after = |scheme: &[u8]| {
        let start = target.get(..scheme.len())?;
        start
            .eq_ignore_ascii_case(scheme)
            .then(|| &target[scheme.len()..])
    };
    let rest = after(b"http://")
        .or_else(|| after(b"https://"))
        .ok_or(HeadError::Target("it is neither a path nor an http URL"))?;
    let end = rest
        .iter()
        .position(|b| matches!(b, b'/' | b'?'))
        .unwrap_or(rest.len());
    let (authority, local) = rest.split_at(end);
    match head.host {
        HostSource::Field(host) if host.get(whole).eq_ignore_ascii_case(authority) => {}
        HostSource::Field(_) => return Err(HeadError::Host("it differs from the absolute target")),
        _ => head.host = HostSource::Target(Span::of(whole, authority)),
    }
    Ok(local)
}

pub(super) fn check_host(whole: &[u8], head: &RequestHead) -> Result<(), HeadError> {
    match head.host {
        HostSource::None if head.minor == 0 => Ok(()),
        HostSource::None => Err(HeadError::Host("it is missing")),
        HostSource::Target(_) if head.minor == 1 => Err(HeadError::Host("it is missing")),
        HostSource::Field(span) | HostSource::Target(span) => check_authority(span.get(whole)),
    }
}

/// A name or address with an optional port, and nothing else (RFC 3986, section 3.2, less userinfo).
fn check_authority(authority: &[u8]) -> Result<(), HeadError> {
    let bad = || HeadError::Host("it is not a name or an address with an optional port");
    // Most are a name alone: all of it is looked at, without a branch for each byte.
    let is_name = |bytes: &[u8]| (bytes.iter()).fold(true, |fits, b| fits & HOST[usize::from(*b)]);
    if (1..=253).contains(&authority.len()) && is_name(authority) {
        return Ok(());
    }
    let (host, port) = match authority.first() {
        Some(b'[') => {
            let end = memchr::memchr(b']', authority).ok_or_else(bad)?;
            (&authority[..=end], &authority[end + 1..])
        }
        _ => match memchr::memchr(b':', authority) {
            Some(at) => authority.split_at(at),
            None => (authority, &[][..]),
        },
    };
    let fits = match host {
        [b'[', inner @ .., b']'] => {
            std::str::from_utf8(inner).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
        }
        name => (1..=253).contains(&name.len()) && is_name(name),
    };
    let port_fits = match port {
        [] => true,
        [b':', digits @ ..] => {
            (1..=5).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
                && std::str::from_utf8(digits)
                    .is_ok_and(|text| text.parse::<u16>().is_ok_and(|port| port > 0))
        }
        _ => false,
    };
    if fits && port_fits {
        Ok(())
    } else {
        Err(bad())
    }
}

/// What a target may hold: no fragment, which is the client's own business.
static TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let ascii = byte as u8;
        table[byte] = ascii.is_ascii_graphic() && ascii != b'#';
        byte += 1;
    }
    table
};

/// What the name in a Host may hold.
static HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let ascii = byte as u8;
        table[byte] = ascii.is_ascii_alphanumeric() || matches!(ascii, b'-' | b'.' | b'_');
        byte += 1;
    }
    table
};
