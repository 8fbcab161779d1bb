//! What docs/mesh.md runs in `examples/mesh`: two plain services, and then mTLS between them, with the kernel's redirection and
//! bytes caught on the bridge.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use weir_tests::binary::workspace;
use weir_tests::client::{Client, Response};
use weir_tests::docker::{SOCKET, available, image, unique};
use weir_tests::ports;
use weir_tests::wait::{eventually, within};

use super::examples::{compose, said, standalone};

/// Longer than the first start of six containers takes on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Frames between two addresses that have a payload: how many hold something in clear, how many there are, and how many
/// begin with a record of TLS.
const CATCH: &str = r#"
import socket, sys, select, time
web, shop = (socket.inet_aton(text) for text in sys.argv[1:3])
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
print("listening", flush=True)
seen = frames = handshakes = 0
until = time.time() + 60
while time.time() < until:
    ready, _, _ = select.select([wire, sys.stdin], [], [], 1)
    if wire in ready:
        frame = wire.recv(65535)
        ends = {frame[26:30], frame[30:34]}
        if frame[12:14] == b"\x08\x00" and ends == {web, shop}:
            payload = frame[34 + 4 * (frame[46] >> 4):14 + int.from_bytes(frame[16:18], "big")]
            if payload:
                frames += 1
                seen += b"secret" in payload or b"HTTP/1.1" in payload
                handshakes += payload[0] in (20, 21, 22, 23)
    elif sys.stdin in ready:
        break
print(seen, frames, handshakes, flush=True)
"#;

struct Example {
    folder: TempDir,
    name: String,
    envs: Vec<(&'static str, String)>,
    at: SocketAddr,
}

impl Example {
    fn new() -> Self {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let folder = tempfile::tempdir().expect("a folder for the example");
        for name in ["compose.yaml", "mesh.yaml", "control.yaml"] {
            let from = workspace().join("examples/mesh").join(name);
            std::fs::copy(from, folder.path().join(name)).expect("copy the example");
        }
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("chmod");
        let socket = std::fs::metadata(SOCKET).expect("the engine's socket");
        let at = ports::free();
        Self {
            folder,
            name: unique("mesh"),
            envs: vec![
                ("WEIR_IMAGE", image().to_owned()),
                ("DOCKER_GID", socket.gid().to_string()),
                ("WEIR_PORT", at.port().to_string()),
                ("WEIR_NETWORK", unique("mesh")),
            ],
            at,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_run(&self, files: &[&str], args: &[&str]) -> (bool, String) {
        let envs: Vec<(&str, &str)> = self.envs.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let mut all: Vec<String> = Vec::new();
        for file in files {
            all.extend(["-f".to_owned(), self.file(file).display().to_string()]);
        }
        all.extend(["-p".to_owned(), self.name.clone()]);
        all.extend(args.iter().map(ToString::to_string));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let output = compose(&all, &envs);
        (output.status.success(), said(&output))
    }

    fn plain(&self, args: &[&str]) -> String {
        let (fine, said) = self.try_run(&["compose.yaml"], args);
        assert!(fine, "docker-compose {args:?}: {said}");
        said
    }

    fn meshed(&self, args: &[&str]) -> String {
        let (fine, said) = self.try_run(&["compose.yaml", "mesh.yaml"], args);
        assert!(fine, "docker-compose {args:?}: {said}");
        said
    }

    fn weir(&self, args: &[&str]) -> String {
        self.meshed(&[&["exec", "-T", "control", "/weir"], args].concat())
    }

    /// Runs lines as they stand, one after another as a shell does with what is pasted into it, until one fails.
    fn paste(&self, lines: &[String]) {
        let mut script = String::new();
        if standalone() {
            script.push_str("docker() { shift; docker-compose \"$@\"; }\n");
        }
        script.push_str(&lines.join("\n"));
        let output = Command::new("sh")
            .args(["-e", "-c", &script])
            .current_dir(self.folder.path())
            .envs(self.envs.iter().map(|(name, value)| (name, value)))
            .env("COMPOSE_PROJECT_NAME", &self.name)
            .stdin(Stdio::null())
            .output();
        let output = output.expect("run sh");
        assert!(output.status.success(), "{lines:#?}: {}", said(&output));
    }

    fn ask(&self, method: &str, marker: &str) -> Option<Response> {
        let mut client = Client::try_connect(self.at).ok()?;
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: localhost\r\nx-marker: {marker}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        client.wire.send(request).ok()?;
        client.try_response(method).ok()?
    }

    fn served(&self, marker: &str) -> Option<()> {
        let answer = self.ask("GET", marker)?;
        (answer.status() == 200 && answer.get("x-origin-name") == Some("shop")).then_some(())
    }

    /// A stranger on the same network, to the very port of the app: it is the sidecar that answers, and takes TLS alone.
    fn takes_no_stranger(&self) {
        let shop = format!("{}:8000", self.address("shop"));
        let shop: SocketAddr = shop.parse().expect("an address");
        let time = Duration::from_secs(5);
        let mut stranger = TcpStream::connect_timeout(&shop, time).expect("connect");
        stranger.set_read_timeout(Some(time)).expect("a time");
        stranger
            .write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            .expect("write");
        let mut answer = String::new();
        let _ = stranger.read_to_string(&mut answer);
        assert!(
            !answer.contains("200 OK") && !answer.contains("shop"),
            "{answer}"
        );
    }

    /// The id of a service's container.
    fn container(&self, service: &str) -> String {
        let id = self.meshed(&["ps", "-q", service]);
        id.lines().last().expect("a container").trim().to_owned()
    }

    /// The address of a service's container.
    fn address(&self, service: &str) -> String {
        let id = self.container(service);
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let output = Command::new("docker")
            .args(["inspect", "--format", format, &id])
            .output();
        let output = output.expect("run docker inspect");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (_, logs) = self.try_run(
                &["compose.yaml", "mesh.yaml"],
                &["logs", "--no-color", "--tail", "40"],
            );
            weir_tests::say(&logs);
        }
        self.try_run(
            &["compose.yaml", "mesh.yaml"],
            &["down", "--volumes", "--timeout", "1"],
        );
    }
}

/// The commands of a section of docs/mesh.md.
fn commands(heading: &str) -> Vec<String> {
    let page = std::fs::read_to_string(workspace().join("docs/mesh.md")).expect("the page");
    let mut sections = page.split("\n#");
    let section = sections.find(|text| {
        text.trim_start_matches('#')
            .trim_start()
            .starts_with(heading)
    });
    let lines = section.expect("the section").lines();
    let lines = lines.filter_map(|line| line.strip_prefix("    "));
    lines.map(str::to_owned).collect()
}

#[test]
fn two_plain_services_speak_mtls_after_five_commands_and_nothing_else_is_taken() {
    if !available() {
        return;
    }
    let example = Example::new();
    example.plain(&["up", "-d"]);
    within(PATIENCE, "the two plain services", || {
        example.served("hello")
    });
    let (seen, frames, _) = caught(&example);
    assert!(seen >= 20, "what is in clear is seen, in {frames} frames");

    let five = commands("Two Compose services in five commands");
    assert_eq!(five.len(), 5, "{five:#?}");
    let readme = workspace().join("examples/mesh/README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let same = format!("\n    {}\n", five.join("\n    "));
    assert!(readme.contains(&same), "the README has others than{same}");
    example.paste(&five);
    within(PATIENCE, "an answer through two sidecars", || {
        example.served("joined")?;
        let edges = example.weir(&["edges"]);
        let line = edges
            .lines()
            .find(|line| line.starts_with("web") && line.contains("shop"))?;
        line.contains("mTLS").then_some(())
    });
    let (seen, frames, records) = caught(&example);
    assert!(frames >= 20, "{frames} frames with a payload");
    assert_eq!(seen, 0, "something in clear among {frames} frames");
    assert!(records > 0, "records of TLS");

    example.takes_no_stranger();

    // A restart takes the rules away, and the page says what brings them back.
    let restarted = Command::new("docker")
        .args(["restart", "--time", "1", &example.container("shop")])
        .output();
    let restarted = restarted.expect("run docker restart");
    assert!(restarted.status.success(), "{}", said(&restarted));
    let cure = commands("When the app's container restarts");
    assert_eq!(cure.len(), 1, "{cure:?}");
    example.paste(&cure);
    within(PATIENCE, "an answer after a restart", || {
        example.served("again")
    });
    example.takes_no_stranger();

    example.weir(&["mesh", "allow", "web", "shop", "--methods", "GET"]);
    eventually("a refusal of what is not allowed", || {
        (example.ask("POST", "x")?.status() == 403).then_some(())
    });
    example.served("still").expect("what is allowed");
}

/// Asks twenty times, and looks at what goes between the two containers meanwhile, on whatever interface of this machine.
fn caught(example: &Example) -> (u64, u64, u64) {
    let (web, shop) = (example.address("web"), example.address("shop"));
    let mut child = Command::new("python3")
        .args(["-c", CATCH, &web, &shop])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run python3");
    let mut out = BufReader::with_capacity(1, child.stdout.take().expect("its words"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), "listening", "catching bytes needs root");
    for _ in 0..20 {
        example.served("secret").expect("an answer");
    }
    std::thread::sleep(Duration::from_millis(300));
    drop(child.stdin.take());
    line.clear();
    out.read_line(&mut line).expect("its last line");
    let _ = child.wait();
    let mut numbers = line
        .split_whitespace()
        .map(|word| word.parse().expect("a number"));
    let mut next = || numbers.next().expect("three numbers");
    (next(), next(), next())
}
