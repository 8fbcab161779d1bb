//! A DNS server that does as a test tells it, over real UDP and TCP sockets of one port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SOA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// How questions are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// From the zone.
    Answer,
    /// With this code, whatever is asked.
    Code(ResponseCode),
    /// UDP answers are cut off and say so; TCP answers are whole.
    Truncate,
    /// Not at all.
    Silent,
    /// With bytes that are no message.
    Garbage,
}

pub(crate) struct DnsServer {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

/// Records of one kind with their TTL, by whole name and kind.
type Zone = BTreeMap<(String, RecordType), (u32, Vec<RData>)>;

struct State {
    zone: Mutex<Zone>,
    /// For how long an absence holds, in seconds, where the server says so.
    absence_ttl: Mutex<Option<u32>>,
    mood: Mutex<Mood>,
    /// `udp web.test. A`
    asked: Mutex<Vec<String>>,
}

impl DnsServer {
    pub(crate) async fn start() -> Self {
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().unwrap();
        let state = Arc::new(State {
            zone: Mutex::default(),
            absence_ttl: Mutex::default(),
            mood: Mutex::new(Mood::Answer),
            asked: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, Arc::clone(&state)));
        tasks.spawn(serve_tcp(tcp, Arc::clone(&state)));
        Self {
            address,
            state,
            _tasks: tasks,
        }
    }

    pub(crate) fn mood(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    pub(crate) fn absence_ttl(&self, secs: u32) {
        *self.state.absence_ttl.lock().unwrap() = Some(secs);
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Gives a name its addresses, all of one family; none takes the name away.
    pub(crate) fn addresses(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let parsed = addresses.iter().map(|text| text.parse::<IpAddr>().unwrap());
        let data: Vec<RData> = parsed
            .map(|ip| match ip {
                IpAddr::V4(v4) => RData::A(A(v4)),
                IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
            })
            .collect();
        let kind = data.first().map_or(RecordType::A, RData::record_type);
        self.put(name, kind, ttl, data);
    }

    /// Gives a name its SRV records: priority, weight, port, target.
    pub(crate) fn services(&self, name: &str, ttl: u32, records: &[(u16, u16, u16, &str)]) {
        let one = |(priority, weight, port, target): &(u16, u16, u16, &str)| {
            RData::SRV(SRV::new(*priority, *weight, *port, full(target)))
        };
        let data = records.iter().map(one).collect();
        self.put(name, RecordType::SRV, ttl, data);
    }

    /// Makes a name another one's alias.
    pub(crate) fn alias(&self, name: &str, ttl: u32, other: &str) {
        let data = vec![RData::CNAME(CNAME(full(other)))];
        self.put(name, RecordType::CNAME, ttl, data);
    }

    fn put(&self, name: &str, kind: RecordType, ttl: u32, data: Vec<RData>) {
        let key = (full(name).to_ascii(), kind);
        let mut zone = self.state.zone.lock().unwrap();
        match data.is_empty() {
            true => zone.remove(&key),
            false => zone.insert(key, (ttl, data)),
        };
    }
}

fn full(name: &str) -> Name {
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    name
}

/// A port that is free for both.
async fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

async fn serve_udp(socket: UdpSocket, state: Arc<State>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if let Some(answer) = state.answer(&buffer[..length], "udp") {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&state)));
    }
}

async fn converse(mut stream: TcpStream, state: Arc<State>) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0; usize::from(length)];
        if stream.read_exact(&mut question).await.is_err() {
            return;
        }
        let Some(answer) = state.answer(&question, "tcp") else {
            continue;
        };
        let length = u16::try_from(answer.len()).unwrap();
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}

impl State {
    fn answer(&self, question: &[u8], way: &str) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries.first()?.clone();
        let asked = format!("{way} {} {}", query.name(), query.query_type());
        self.asked.lock().unwrap().push(asked);
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        match *self.mood.lock().unwrap() {
            Mood::Silent => return None,
            Mood::Garbage => return Some(b"\x12\x34nonsense".to_vec()),
            Mood::Code(code) => answer.metadata.response_code = code,
            Mood::Truncate if way == "udp" => answer.metadata.truncation = true,
            Mood::Answer | Mood::Truncate => {
                self.look_up(query.name(), query.query_type(), &mut answer)
            }
        }
        answer.to_vec().ok()
    }

    fn look_up(&self, name: &Name, kind: RecordType, answer: &mut Message) {
        let zone = self.zone.lock().unwrap();
        let mut owner = name.clone();
        if let Some((ttl, data)) = zone.get(&(owner.to_ascii(), RecordType::CNAME)) {
            answer.add_answer(Record::from_rdata(owner.clone(), *ttl, data[0].clone()));
            if let RData::CNAME(target) = &data[0] {
                owner = target.0.clone();
            }
        }
        if let Some((ttl, data)) = zone.get(&(owner.to_ascii(), kind)) {
            for data in data {
                answer.add_answer(Record::from_rdata(owner.clone(), *ttl, data.clone()));
            }
            return;
        }
        let text = owner.to_ascii();
        if !zone.keys().any(|(known, _)| *known == text) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        if let Some(ttl) = *self.absence_ttl.lock().unwrap() {
            let zone = full("test");
            let soa = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86_400, ttl);
            answer.add_authority(Record::from_rdata(zone, ttl, RData::SOA(soa)));
        }
    }
}
