//! Headless Chromium: a page with many parts, a body up, a stream down, and a WebSocket, all over one connection.
//!
//! The page tells what it saw by a last request to the origin.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use weir_tests::origin::Origin;
use weir_tests::tools;
use weir_tests::wait::within;

use crate::front::Front;

const PAGE: &str = r#"<!doctype html><title>page</title><script type="module">
const seen = {};
try {
  const parts = await Promise.all(Array.from({length: 40}, (_, n) => fetch(`/bytes/20000?n=${n}`)));
  seen.parts = parts.filter(part => part.ok).length;
  seen.sizes = (await Promise.all(parts.map(part => part.arrayBuffer()))).filter(b => b.byteLength === 20000).length;
  const sent = 'x'.repeat(500000);
  const echo = await fetch('/echo', {method: 'POST', body: sent});
  seen.echo = (await echo.text()) === sent;
  seen.stream = (await (await fetch('/stream/10?interval=5ms')).text()).split('\n').length;
  seen.websocket = await new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://${location.host}/ws`);
    socket.onopen = () => socket.send('hello');
    socket.onmessage = event => { socket.close(); resolve(event.data); };
    socket.onerror = () => reject(new Error('the WebSocket failed'));
  });
  const entries = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
  seen.protocols = [...new Set(entries.map(entry => entry.nextHopProtocol))];
} catch (error) {
  seen.error = String(error);
}
await fetch('/pages/report', {method: 'POST', body: JSON.stringify(seen)});
</script>"#;

/// Ends with the test, its children with it.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        // Either fails when it is gone already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn chromium_loads_a_page_over_http_2() {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let Some(program) = tools::find("WEIR_CHROMIUM", &names, "apt-get install chromium") else {
        return;
    };
    let origin = Origin::start(|exchange| {
        exchange.body()?;
        match exchange.head.word(1) {
            "/pages/index" => exchange.reply(200, "Content-Type: text/html\r\n", PAGE),
            _ => exchange.reply(200, "", "OK"),
        }
    });
    let front = Front::with_pages(origin);
    let dir = tempfile::tempdir().expect("a directory");
    let child = Command::new(program)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--no-proxy-server",
        ])
        .arg("--ignore-certificate-errors")
        // Without one it leaves as soon as the page is loaded.
        .arg("--remote-debugging-port=0")
        .arg(format!("--user-data-dir={}", dir.path().display()))
        .arg(format!("https://{}/pages/index", front.secure()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start chromium");
    let browser = Browser(child);
    let report = within(Duration::from_secs(60), "the page's report", || {
        let requests = front.pages().requests();
        let report = requests.iter().find(|r| r.target() == "/pages/report");
        report?.body.as_ref().map(|body| body.data.clone())
    });
    drop(browser);
    let seen: serde_json::Value = serde_json::from_slice(&report).expect("JSON of the page");
    let want = serde_json::json!({
        "parts": 40, "sizes": 40, "echo": true, "stream": 11, "websocket": "hello", "protocols": ["h2"],
    });
    assert_eq!(seen, want);
}
