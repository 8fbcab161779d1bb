//! The Connection field (RFC 9110, section 7.6.1), read alike in requests and responses.

use super::field::list_members;
use super::{Field, Known};

/// The most fields that Connection may name; each is compared with every field.
pub(super) const MAX_NAMED: usize = 32;

/// What the options of a head said together.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) upgrade: bool,
    /// Fields named; those beyond [`MAX_NAMED`] are counted and not looked for.
    pub(super) named: usize,
}

/// Reads the options of every Connection field: settles `keep_alive`, and marks the fields that are named as not to be
/// forwarded, but for those of the kinds in `keep`, without which the message means something else.
pub(super) fn apply(
    whole: &[u8],
    fields: &mut [Field],
    minor: u8,
    keep_alive: &mut bool,
    keep: &[Known],
) -> Options {
    let mut options = Options::default();
    for at in 0..fields.len() {
        if fields[at].known != Known::Connection {
            continue;
        }
        let value = fields[at].value.get(whole);
        list_members(value, |option| {
            if option.eq_ignore_ascii_case(b"close") {
                *keep_alive = false;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                *keep_alive |= minor == 0;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                options.upgrade = true;
            } else {
                options.named += 1;
                if options.named <= MAX_NAMED {
                    drop_named(whole, fields, option, keep);
                }
            }
        });
    }
    options
}

fn drop_named(whole: &[u8], fields: &mut [Field], name: &[u8], keep: &[Known]) {
    for field in fields.iter_mut().filter(|f| !keep.contains(&f.known)) {
        field.drop |= field.name.get(whole).eq_ignore_ascii_case(name);
    }
}
