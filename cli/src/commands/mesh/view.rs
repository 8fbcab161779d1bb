//! How rules and answers about them look.

use std::fmt::Write as _;

use serde_json::Value;
use weir_control::api::types::{
    Access, AccessCheck, AccessPolicy, AccessTried, MeshInfo, MeshService,
};

use crate::output::{Cell, Format, Printer, Table, Tone};

/// One line for each service.
pub(super) fn overview(mesh: &MeshInfo, printer: Printer) -> String {
    let mut headings = vec!["SERVICE", "MODE", "SIDECARS", "MAY BE CALLED BY"];
    if printer.is_wide() {
        headings.extend(["PROTOCOL", "PORT", "IDENTITY"]);
    }
    let mut table = Table::new(&headings);
    for service in &mesh.services {
        let mode = match service.mode.as_str() {
            "strict" => Tone::Good,
            _ => Tone::Warn,
        };
        // An endpoint without one is called and answers nobody.
        let sidecars = match service.sidecars < service.endpoints {
            true => Tone::Warn,
            false => Tone::Plain,
        };
        let number = format!("{} of {}", service.sidecars, service.endpoints);
        let mut cells: Vec<Cell> = vec![
            service.name.as_str().into(),
            Cell::toned(service.mode.as_str(), mode),
            Cell::toned(number, sidecars),
            callers(service).into(),
        ];
        if printer.is_wide() {
            cells.extend([
                service.protocol.as_str().into(),
                service.port.to_string().into(),
                format!("spiffe://{}/svc/{}", mesh.trust_domain, service.name).into(),
            ]);
        }
        table.row(cells);
    }
    table.or_none(
        printer.color,
        "no service is in the mesh: label containers weir.mesh=strict, or write mesh: { mode: strict } at a service",
    )
}

fn callers(service: &MeshService) -> String {
    let whoever = match service.mode.as_str() {
        "strict" => "everybody in the mesh",
        _ => "everybody",
    };
    match (service.enforced, service.policies) {
        (0, 0) => whoever.into(),
        (0, _) => format!("{whoever} (rules only log)"),
        (1, _) => "by 1 rule, see weir mesh list".into(),
        (rules, _) => format!("by {rules} rules, see weir mesh list"),
    }
}

/// One line for each policy.
pub(super) fn list(access: &Access, printer: Printer) -> String {
    let wide = printer.format == Format::Wide;
    let mut headings = vec!["POLICY", "ACTION", "ON", "WHAT"];
    if wide {
        headings.extend(["MODE", "SOURCE"]);
    }
    let mut table = Table::new(&headings);
    for policy in &access.policies {
        let mut cells = vec![
            policy.name.as_str().into(),
            Cell::toned(action(&policy.action, &policy.mode), tone(&policy.action)),
            on(policy).into(),
            what(&policy.rules).into(),
        ];
        if wide {
            cells.extend([policy.mode.as_str().into(), policy.source.as_str().into()]);
        }
        table.row(cells);
    }
    table.or_none(printer.color, "no rules: everybody may call everything")
}

fn action(action: &str, mode: &str) -> String {
    match mode {
        "log" => format!("{action} (log)"),
        _ => action.to_owned(),
    }
}

fn tone(action: &str) -> Tone {
    match action {
        "allow" => Tone::Good,
        "deny" => Tone::Bad,
        _ => Tone::Plain,
    }
}

fn on(policy: &AccessPolicy) -> String {
    match (policy.service.as_deref(), &policy.listener) {
        (Some("*"), _) => "every service".to_owned(),
        (Some(service), _) => format!("service {service}"),
        (None, Some(listener)) => format!("listener {listener}"),
        (None, None) => String::new(),
    }
}

/// `principals spiffe://a/svc/web; methods GET; paths /api/**`
fn what(rules: &[Value]) -> String {
    let one = |rule: &Value| {
        let mut parts = Vec::new();
        flatten(rule, &mut parts);
        match parts.is_empty() {
            true => "everything".to_owned(),
            false => parts.join("; "),
        }
    };
    match rules {
        [] => "nothing".to_owned(),
        rules => rules.iter().map(one).collect::<Vec<_>>().join(" or "),
    }
}

fn flatten(value: &Value, parts: &mut Vec<String>) {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_array() {
                    Some(items) if items.iter().all(|item| !item.is_object()) => {
                        let items: Vec<String> = items.iter().map(text).collect();
                        parts.push(format!("{key} {}", items.join(",")));
                    }
                    _ if key == "key" => parts.push(text(value)),
                    _ => flatten(value, parts),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| flatten(item, parts)),
        _ => {}
    }
}

/// The answer, and every policy with why it did not fit.
pub(super) fn check(check: &AccessCheck, printer: Printer) -> String {
    let mut out = String::new();
    let (word, tone) = match check.admitted {
        true => ("allowed", Tone::Good),
        false => ("refused", Tone::Bad),
    };
    let _ = writeln!(out, "{}: {}", printer.paint(tone, word), check.reason);
    let identity = check.identity.as_deref().unwrap_or("none");
    let _ = writeln!(out, "identity  {identity}");
    if let Some(path) = &check.path {
        let _ = writeln!(out, "path      {path}");
    }
    if check.logged.is_some_and(|logged| logged != check.admitted) {
        let would = if check.admitted { "refused" } else { "allowed" };
        let _ = writeln!(
            out,
            "with the policies that are for the log it would be {would}"
        );
    }
    for tried in &check.tried {
        policy(tried, printer, &mut out);
    }
    out
}

fn policy(tried: &AccessTried, printer: Printer, out: &mut String) {
    let action = action(&tried.action, &tried.mode);
    let (sign, tone) = match tried.fits {
        true => ("fits", self::tone(&tried.action)),
        false => ("-", Tone::Dim),
    };
    let title = format!("{sign:4}  {action} {}  ({})", tried.policy, tried.source);
    let _ = writeln!(out, "{}", printer.paint(tone, &title));
    for (number, why) in tried.rules.iter().enumerate() {
        let rule = match tried.rules.len() {
            1 => String::new(),
            _ => format!("rule {}: ", number + 1),
        };
        match why {
            Some(why) => {
                let _ = writeln!(out, "      {rule}{why}");
            }
            None if tried.rules.len() > 1 => {
                let _ = writeln!(out, "      {rule}fits");
            }
            None => {}
        }
    }
    if tried.rules.is_empty() {
        let _ = writeln!(out, "      it has no rule, so it fits nothing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_may_call_goes_by_the_mode_and_by_the_rules_that_are_enforced() {
        for (mode, enforced, policies, who) in [
            ("strict", 0, 0, "everybody in the mesh"),
            ("permissive", 0, 0, "everybody"),
            ("off", 0, 1, "everybody (rules only log)"),
            ("strict", 1, 2, "by 1 rule, see weir mesh list"),
            ("permissive", 2, 2, "by 2 rules, see weir mesh list"),
        ] {
            let service = MeshService {
                name: "shop".into(),
                mode: mode.into(),
                protocol: "http".into(),
                port: 15006,
                endpoints: 1,
                sidecars: 1,
                policies,
                enforced,
                open: enforced == 0,
            };
            assert_eq!(callers(&service), who);
        }
    }

    #[test]
    fn a_rule_is_one_line_of_what_it_asks_for() {
        let rule = json!({
            "from": [{ "source": { "principals": ["spiffe://a/svc/web"] } }],
            "to": [{ "operation": { "methods": ["GET"], "paths": ["/api/**", "/x"] } }],
            "when": [{ "key": "source.ip", "values": ["10.0.0.0/8"] }],
        });
        let line = what(&[rule, json!({})]);
        for part in [
            "principals spiffe://a/svc/web",
            "methods GET",
            "paths /api/**,/x",
            "source.ip; values 10.0.0.0/8",
            " or everything",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert_eq!(what(&[]), "nothing");
    }
}
