//! `weir sidecar --init`: the one step that needs a privilege.

use std::io;
use std::net::SocketAddr;

use super::RedirectArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::print;
use crate::redirect::{self, Rules};

pub(super) fn run(
    args: &RedirectArgs,
    app: SocketAddr,
    inbound: SocketAddr,
    outbound: SocketAddr,
) -> Outcome {
    if args.remove {
        redirect::remove().map_err(|error| explain(&error))?;
        print("nothing is redirected any more\n")?;
        return Ok(Exit::Ok);
    }
    let ports = match args.ports.is_empty() {
        true => vec![app.port()],
        false => args.ports.clone(),
    };
    let rules = Rules {
        outbound: outbound.port(),
        inbound: inbound.port(),
        ports,
        user: args.user,
        exclude_ports: args.exclude_ports.clone(),
        exclude: args.exclude.clone(),
    };
    if args.print {
        print(&rules.text())?;
        return Ok(Exit::Ok);
    }
    redirect::install(&rules).map_err(|error| explain(&error))?;
    let (outbound, inbound) = (rules.outbound, rules.inbound);
    print(&format!(
        "the app's connections go to :{outbound}, those to {} to :{inbound}; user {} and loopback are left alone\n",
        rules
            .ports
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        rules.user
    ))?;
    Ok(Exit::Ok)
}

fn explain(error: &io::Error) -> Failure {
    let failure = Failure::runtime(format!("the packet filter was not changed: {error}"));
    match error.kind() {
        io::ErrorKind::PermissionDenied => failure.help(
            "run this step with NET_ADMIN and as root: cap_add: [NET_ADMIN], user: \"0:0\"; the sidecar itself needs neither",
        ),
        io::ErrorKind::NotFound | io::ErrorKind::Unsupported => {
            failure.help("the kernel lacks nf_tables or its nat part: modprobe nft_chain_nat nft_redir")
        }
        _ => failure,
    }
}
