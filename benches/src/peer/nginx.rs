//! nginx: one process, a pool of connections to the origin, responses kept off the disk.

use std::path::Path;

use super::Places;
use crate::workload::Setup;

pub(super) fn arguments(dir: &Path, places: &Places, setup: Setup) -> anyhow::Result<Vec<String>> {
    let Places {
        listen,
        tls,
        origin,
        identity,
        ..
    } = places;
    let (cert, key) = (identity.cert.display(), identity.key.display());
    let home = dir.display();
    let carried = match setup {
        Setup::Http { .. } => format!(
            "http {{\n  access_log off;\n  keepalive_requests 100000000;\n  tcp_nodelay on;\n\
             \x20 client_body_temp_path {home}/b;\n  proxy_temp_path {home}/p;\n  fastcgi_temp_path {home}/f;\n  uwsgi_temp_path {home}/u;\n  scgi_temp_path {home}/s;\n\
             \x20 upstream app {{ server {origin}; keepalive 256; keepalive_requests 100000000; }}\n\
             \x20 server {{\n    listen {listen} backlog=4096;\n    listen {tls} ssl http2 backlog=4096;\n\
             \x20   ssl_certificate {cert};\n    ssl_certificate_key {key};\n    ssl_protocols TLSv1.2 TLSv1.3;\n    location / {{\n      proxy_pass http://app;\n      proxy_http_version 1.1;\n\
             \x20     proxy_set_header Connection \"\";\n      proxy_set_header Host $host;\n      proxy_set_header X-Forwarded-For $remote_addr;\n\
             \x20     proxy_max_temp_file_size 0;\n      proxy_buffers 16 16k;\n      proxy_buffer_size 16k;\n    }}\n  }}\n}}\n"
        ),
        Setup::Tcp => format!(
            "stream {{\n  tcp_nodelay on;\n\
             \x20 server {{ listen {listen} backlog=4096; proxy_pass {origin}; proxy_buffer_size 16k; }}\n}}\n"
        ),
    };
    // Debian's module of streams, where it is not built in.
    let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    let load = match setup == Setup::Tcp && module.exists() {
        true => format!("load_module {};\n", module.display()),
        false => String::new(),
    };
    let config = format!(
        "{load}daemon off;\nmaster_process off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid {home}/nginx.pid;\nerror_log {home}/error.log;\n\
         events {{ worker_connections 10000; }}\n{carried}"
    );
    let path = dir.join("nginx.conf");
    std::fs::write(&path, config)?;
    Ok(["-p", &home.to_string(), "-c", &path.to_string_lossy()]
        .map(str::to_owned)
        .to_vec())
}
