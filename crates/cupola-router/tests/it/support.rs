//! A router in a process of its own, scripted apps behind it and a client that speaks raw HTTP.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use cupola_domain::{
    ids::{AppId, InstanceId, ProcessId},
    route_table::{
        Endpoint, LoadBalancing, ReleaseGroup, RequestMatch, RouteEntry, RouteKey, RouteRule,
        RouteTable,
    },
};
use cupola_ports::data_plane::{DataPlane, TrafficReport};
use cupola_router::{Limits, RouterClient, RouterConfig, RouterProcess};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestRouter {
    pub(crate) process: Option<RouterProcess>,
    pub(crate) client: RouterClient,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) config: RouterConfig,
    version: AtomicU64,
}

impl TestRouter {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Limits)) -> Self {
        Self::with_config(|config| change(&mut config.limits)).await
    }

    pub(crate) async fn with_config(change: impl FnOnce(&mut RouterConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = RouterConfig::new(
            env!("CARGO_BIN_EXE_cupola-router"),
            vec!["127.0.0.1:0".parse().unwrap()],
            directory.path().join("state"),
            directory.path().join("router.sock"),
        );
        config.workers = Some(2);
        config.limits.sweep_ms = 20;
        config.limits.report_ms = 20;
        config.limits.save_ms = 1;
        change(&mut config);
        let process = RouterProcess::start(config.clone()).await.unwrap();
        config.addresses = process.addresses().to_vec();
        let client = RouterClient::start(&config.control_socket);
        let version = AtomicU64::new(0);
        Self { process: Some(process), client, directory, config, version }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.config.addresses[0]
    }

    /// Makes these the routes and waits until they are served.
    pub(crate) async fn serve(&self, routes: impl IntoIterator<Item = (RouteKey, RouteEntry)>) {
        let version = self.version.fetch_add(1, SeqCst) + 1;
        let routes: BTreeMap<_, _> = routes.into_iter().collect();
        self.apply(RouteTable { epoch: 1, version, routes }).await;
        self.report(|report| report.serving == Some((1, version))).await;
    }

    pub(crate) async fn apply(&self, table: RouteTable) {
        self.client.apply(Arc::new(table)).await.unwrap();
    }

    /// Waits until a report satisfies `wanted`.
    pub(crate) async fn report(
        &self,
        wanted: impl FnMut(&Arc<TrafficReport>) -> bool,
    ) -> Arc<TrafficReport> {
        let mut report = self.client.report();
        timeout(PATIENCE, report.wait_for(wanted)).await.expect("no such report").unwrap().clone()
    }

    pub(crate) async fn connect(&self) -> RawClient {
        RawClient::connect(self.address()).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, host: &str, path: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        client.answer().await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().status().borrow().pid.unwrap()
    }
}

impl Drop for TestRouter {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            let pid = process.status().borrow().pid;
            // First, so that it is not started again.
            drop(process);
            pid.into_iter().for_each(kill);
        }
    }
}

pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Waits for something that has no event of its own.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// What an app does with one request.
pub(crate) enum Reply {
    Text(String),
    /// Then the app closes the connection.
    Last(String),
    /// The connection is closed without an answer.
    Nothing,
    /// These bytes, then a reset.
    Cut(String),
    /// The connection stays open and silent.
    Silence,
}

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.head, name)
    }

    pub(crate) fn request_line(&self) -> &str {
        self.head.lines().next().unwrap()
    }
}

/// One instance of an app.
pub(crate) struct App {
    pub(crate) endpoint: Endpoint,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl App {
    pub(crate) async fn start(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (reply, record) = (Arc::new(reply), seen.clone());
        let mut app =
            Self::raw(move |_, stream| answer_all(stream, reply.clone(), record.clone())).await;
        app.seen = seen;
        app
    }

    /// An app that answers every request with 200 and `text`.
    pub(crate) async fn saying(text: &'static str) -> Self {
        Self::start(move |_| Reply::Text(ok(text))).await
    }

    /// An app that gets the bare connections.
    pub(crate) async fn raw<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(usize, TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(listener.local_addr().unwrap());
        let connections = Arc::<AtomicUsize>::default();
        let count = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, SeqCst);
                tokio::spawn(serve(number, stream));
            }
        });
        Self { endpoint, seen: Arc::default(), connections, task }
    }

    pub(crate) fn id(&self) -> InstanceId {
        self.endpoint.instance_id
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the app has seen nothing")
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer_all(
    mut stream: TcpStream,
    reply: Arc<impl Fn(&Seen) -> Reply>,
    record: Arc<Mutex<Vec<Seen>>>,
) {
    let mut buffer = Vec::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut buffer).await else { return };
        let Some(body) = read_body(&mut stream, &mut buffer, &head, true).await else { return };
        let seen = Seen { head, body };
        record.lock().unwrap().push(seen.clone());
        match reply(&seen) {
            Reply::Text(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Reply::Last(text) => return stream.write_all(text.as_bytes()).await.unwrap(),
            Reply::Nothing => return,
            Reply::Cut(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                sleep(Duration::from_millis(20)).await;
                stream.set_zero_linger().unwrap();
                return;
            }
            Reply::Silence => {
                // Until the router gives up.
                let _end = stream.read(&mut [0; 1]).await;
                return;
            }
        }
    }
}

pub(crate) fn ok(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

pub(crate) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        instance_id: InstanceId::random(),
        process_id: ProcessId::random(),
        index: 0,
        address,
    }
}

/// An address on which nobody listens.
pub(crate) async fn dead_endpoint() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    endpoint(listener.local_addr().unwrap())
}

pub(crate) fn route(url: &str, endpoints: Vec<Endpoint>) -> (RouteKey, RouteEntry) {
    route_of(AppId::random(), url, endpoints)
}

pub(crate) fn route_of(
    app_id: AppId,
    url: &str,
    endpoints: Vec<Endpoint>,
) -> (RouteKey, RouteEntry) {
    let (host, path) = url.find('/').map_or((url, ""), |at| url.split_at(at));
    let group = ReleaseGroup { app_id, process_type: "web".to_owned(), weight: 1, endpoints };
    let rule = RouteRule {
        matches: RequestMatch::Any,
        groups: vec![group],
        mirror: None,
        is_pooled: false,
    };
    let key = RouteKey { host: host.to_owned(), path: path.to_owned() };
    (key, RouteEntry { rules: vec![rule], load_balancing: LoadBalancing::RoundRobin })
}

/// A client that sends what it is told, byte for byte.
pub(crate) struct RawClient {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.head, name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl RawClient {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer(true).await.expect("the connection ended instead of an answer")
    }

    /// None if the connection ends before the answer does.
    pub(crate) async fn try_answer(&mut self, may_have_body: bool) -> Option<Answer> {
        timeout(PATIENCE, self.read_answer(may_have_body)).await.expect("no answer in time")
    }

    async fn read_answer(&mut self, may_have_body: bool) -> Option<Answer> {
        let head = read_head(&mut self.stream, &mut self.buffer).await?;
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let has_body = may_have_body && status >= 200 && status != 204 && status != 304;
        let body = match has_body {
            true => read_body(&mut self.stream, &mut self.buffer, &head, false).await?,
            false => Vec::new(),
        };
        Some(Answer { status, head, body })
    }

    pub(crate) async fn head(&mut self) -> String {
        let head = read_head(&mut self.stream, &mut self.buffer);
        timeout(PATIENCE, head).await.expect("no head in time").expect("no head")
    }

    pub(crate) async fn expect(&mut self, text: &str) {
        self.expect_bytes(text.as_bytes()).await;
    }

    /// Waits for exactly these bytes.
    pub(crate) async fn expect_bytes(&mut self, bytes: &[u8]) {
        let fill = fill_to(&mut self.stream, &mut self.buffer, bytes.len());
        timeout(PATIENCE, fill)
            .await
            .expect("the bytes do not come")
            .expect("the connection ended");
        let taken: Vec<u8> = self.buffer.drain(..bytes.len()).collect();
        assert_eq!(String::from_utf8_lossy(&taken), String::from_utf8_lossy(bytes));
    }

    /// Everything until the connection ends, and whether it ended in an orderly way.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, bool) {
        let read = async {
            let mut rest = std::mem::take(&mut self.buffer);
            let is_orderly = self.stream.read_to_end(&mut rest).await.is_ok();
            (rest, is_orderly)
        };
        timeout(PATIENCE, read).await.expect("the connection does not end")
    }
}

pub(crate) fn find_header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

async fn fill_to(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> Option<()> {
    while buffer.len() < length {
        let mut piece = [0; 16 << 10];
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        buffer.extend_from_slice(&piece[..read]);
    }
    Some(())
}

async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..at + 4).collect();
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
        let length = buffer.len() + 1;
        fill_to(stream, buffer, length).await?;
    }
}

async fn read_body(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    head: &str,
    is_request: bool,
) -> Option<Vec<u8>> {
    if find_header(head, "transfer-encoding").is_some() {
        return read_chunks(stream, buffer).await;
    }
    match find_header(head, "content-length") {
        Some(length) => {
            let length: usize = length.parse().unwrap();
            fill_to(stream, buffer, length).await?;
            Some(buffer.drain(..length).collect())
        }
        None if is_request => Some(Vec::new()),
        None => {
            let mut rest = std::mem::take(buffer);
            stream.read_to_end(&mut rest).await.ok()?;
            Some(rest)
        }
    }
}

async fn read_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size_line = read_line(stream, buffer).await?;
        let size = usize::from_str_radix(size_line.split(';').next().unwrap(), 16).unwrap();
        if size == 0 {
            while !read_line(stream, buffer).await?.is_empty() {}
            return Some(body);
        }
        fill_to(stream, buffer, size + 2).await?;
        body.extend(buffer.drain(..size));
        buffer.drain(..2);
    }
}

async fn read_line(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = buffer.windows(2).position(|window| window == b"\r\n") {
            let line: Vec<u8> = buffer.drain(..at + 2).collect();
            return Some(String::from_utf8_lossy(&line[..at]).into_owned());
        }
        let length = buffer.len() + 1;
        fill_to(stream, buffer, length).await?;
    }
}

/// Reads something and throws it away: a request that fits into one segment.
pub(crate) async fn skim(stream: &mut TcpStream) {
    let read = stream.read(&mut [0; 4096]).await.unwrap();
    assert_ne!(read, 0, "the router closed instead of sending a request");
}
