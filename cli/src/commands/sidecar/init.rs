//! `weir sidecar --init`: the one step that needs a privilege.

use std::io;

use super::SidecarArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::print;
use crate::redirect::{self, Interception, Rules};

pub(super) fn run(sidecar: &SidecarArgs) -> Outcome {
    let args = &sidecar.redirect;
    if args.remove {
        redirect::remove().map_err(|error| explain(&error, sidecar.interception))?;
        print("nothing is redirected any more\n")?;
        return Ok(Exit::Ok);
    }
    let ports = match args.ports.is_empty() {
        true => vec![sidecar.app.port()],
        false => args.ports.clone(),
    };
    let rules = Rules {
        outbound: sidecar.outbound.port(),
        inbound: super::inbound(sidecar.inbound).port(),
        interception: sidecar.interception,
        ports,
        user: args.user,
        exclude_ports: args.exclude_ports.clone(),
        exclude: args.exclude.clone(),
    };
    if args.print {
        print(&rules.text())?;
        return Ok(Exit::Ok);
    }
    if rules.user == 0 {
        eprintln!(
            "warning: user 0 is the sidecar, so an app that runs as root is not redirected: what it connects to goes out as it is"
        );
    }
    redirect::install(&rules).map_err(|error| explain(&error, rules.interception))?;
    let (outbound, inbound) = (rules.outbound, rules.inbound);
    print(&format!(
        "the app's connections go to :{outbound}, those to {} to :{inbound}; user {}, loopback and DNS are left alone\n",
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

fn explain(error: &io::Error, interception: Interception) -> Failure {
    let failure = Failure::runtime(format!("the packet filter was not changed: {error}"));
    match error.kind() {
        io::ErrorKind::PermissionDenied => failure.help(
            "run this step with NET_ADMIN and as root: cap_add: [NET_ADMIN], user: \"0:0\"; the sidecar itself does without NET_ADMIN",
        ),
        io::ErrorKind::NotFound | io::ErrorKind::Unsupported => failure.help(match interception {
            Interception::Redirect => {
                "the kernel lacks nf_tables or its nat part: modprobe nft_chain_nat nft_redir"
            }
            Interception::Tproxy => {
                "tproxy needs Linux 5.9 or newer with: modprobe nft_chain_nat nft_redir nft_tproxy nft_reject_inet; or --interception redirect"
            }
        }),
        _ => failure,
    }
}
