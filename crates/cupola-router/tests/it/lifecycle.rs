//! Start, death, adoption, drain and end of the router process.

use std::{
    io::{IoSlice, Read as _},
    os::fd::{AsFd as _, BorrowedFd},
    time::{Duration, Instant},
};

use cupola_domain::route_table::RouteTable;
use cupola_ports::data_plane::{DataPlane, InstanceTraffic};
use cupola_router::{RouterClient, RouterProcess, RouterProcessError, RouterStatus};
use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use crate::support::{
    App, PATIENCE, RawClient, Reply, TestRouter, eventually, kill, ok, route, skim,
};

async fn table_is_saved(router: &TestRouter) {
    let saved = router.config.state_dir.join("routes.json");
    eventually("the table is saved", async || {
        std::fs::read_to_string(&saved)
            .is_ok_and(|text| text.contains("\"version\":1,\"routes\":[["))
    })
    .await;
}

#[tokio::test]
async fn killed_router_is_back_at_once_and_serves_from_the_saved_table() {
    let mut router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    table_is_saved(&router).await;
    // Control is away, so that only the saved table can be served.
    router.client = RouterClient::start(router.directory.path().join("nobody.sock"));
    let first = router.pid();

    kill(first);
    // No connection is refused meanwhile: the listening socket never closes.
    let answer = router.get("a.test", "/").await;

    assert_eq!(answer.text(), "hi");
    eventually("the new process is known", async || {
        router.process.as_ref().unwrap().status().borrow().pid.is_some_and(|pid| pid != first)
    })
    .await;
    assert_eq!(router.process.as_ref().unwrap().status().borrow().restarts, 1);
}

#[tokio::test]
async fn instance_that_died_meanwhile_is_passed_over_after_a_restart() {
    let mut router = TestRouter::start().await;
    let (alive, dead) = (App::saying("alive").await, App::saying("dead").await);
    let endpoints = vec![alive.endpoint.clone(), dead.endpoint.clone()];
    router.serve([route("a.test", endpoints)]).await;
    table_is_saved(&router).await;
    router.client = RouterClient::start(router.directory.path().join("nobody.sock"));
    drop(dead);

    kill(router.pid());

    for _ in 0..6 {
        assert_eq!(router.get("a.test", "/").await.text(), "alive");
    }
}

#[tokio::test]
async fn router_outlives_control_and_is_adopted_by_the_next() {
    let mut router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    table_is_saved(&router).await;
    let pid = router.pid();

    drop(router.process.take());
    let while_away = router.get("a.test", "/").await;
    let next = RouterProcess::start(router.config.clone()).await.unwrap();
    let status = *next.status().borrow();
    router.process = Some(next);

    assert_eq!(while_away.text(), "hi");
    assert_eq!((status.pid, status.was_adopted), (Some(pid), true));
    // The sockets came back: the adopted router can be replaced without refusing anybody.
    kill(pid);
    assert_eq!(router.get("a.test", "/").await.text(), "hi");
}

#[tokio::test]
async fn epoch_that_is_served_is_told_by_an_adopted_router_and_by_one_with_a_saved_table() {
    let mut router = TestRouter::start().await;
    let fresh = router.process.as_ref().unwrap().served_epoch();
    router.apply(RouteTable { epoch: 7, version: 1, ..RouteTable::default() }).await;
    router.report(|report| report.serving == Some((7, 1))).await;

    drop(router.process.take());
    let adopted = RouterProcess::start(router.config.clone()).await.unwrap();
    let adopted_epoch = adopted.served_epoch();
    adopted.stop(Duration::from_secs(5)).await.unwrap();
    let restarted = RouterProcess::start(router.config.clone()).await.unwrap();

    assert_eq!((fresh, adopted_epoch, restarted.served_epoch()), (0, 7, 7));
    router.process = Some(restarted);
}

/// Ends a process that cannot end by itself, also if the test fails.
struct Killed(Pid);

impl Drop for Killed {
    fn drop(&mut self) {
        let _gone = kill_process(self.0, Signal::KILL);
    }
}

#[tokio::test]
async fn router_that_hangs_is_replaced_at_the_next_start_and_ended_by_down() {
    let mut router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    table_is_saved(&router).await;
    let stopped = Pid::from_raw(router.pid() as i32).unwrap();
    drop(router.process.take());
    let _stopped = Killed(stopped);
    kill_process(stopped, Signal::STOP).unwrap();

    let next = RouterProcess::start(router.config.clone()).await.unwrap();
    let next_pid = next.status().borrow().pid.unwrap();
    let answer = router.get("a.test", "/").await;
    drop(next);
    let stopped = Pid::from_raw(next_pid as i32).unwrap();
    let _stopped = Killed(stopped);
    kill_process(stopped, Signal::STOP).unwrap();
    let socket = &router.config.control_socket;
    let was_ended = RouterProcess::stop_running(socket, Duration::from_secs(5)).await.unwrap();

    assert_eq!(answer.text(), "hi");
    assert!(was_ended);
    assert!(tokio::net::TcpStream::connect(router.address()).await.is_err());
}

#[tokio::test]
async fn burst_of_connections_waits_in_the_queue_of_the_kernel() {
    let router = TestRouter::start().await;
    let pid = Pid::from_raw(router.pid() as i32).unwrap();
    let _stopped = Killed(pid);
    kill_process(pid, Signal::STOP).unwrap();

    // As many as the queue of the standard library would not hold.
    let mut waiting = Vec::new();
    for _ in 0..300 {
        let connecting = tokio::net::TcpStream::connect(router.address());
        let connected = timeout(Duration::from_millis(900), connecting).await;
        waiting.push(connected.expect("the queue is full").unwrap());
    }
}

#[tokio::test]
async fn address_of_another_program_is_named() {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = cupola_router::RouterConfig::new(
        env!("CARGO_BIN_EXE_cupola-router"),
        vec![address],
        directory.path().join("state"),
        directory.path().join("router.sock"),
    );

    let error = RouterProcess::start(config).await.err().unwrap();

    assert!(matches!(error, RouterProcessError::Occupied { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {address}: another program does; stop it, or choose another --router-addr"
        )
    );
}

#[tokio::test]
async fn drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let mut router = TestRouter::start().await;
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let released = std::sync::Mutex::new(Some(released));
    let app = App::raw(move |_, mut stream| {
        let released = released.lock().unwrap().take().unwrap();
        async move {
            skim(&mut stream).await;
            released.await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, ok("late").as_bytes()).await.unwrap();
        }
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    let mut idle = router.connect().await;
    idle.send("GET / HTTP/1.1\r\nHost: nowhere.test\r\n\r\n").await;
    idle.answer().await;
    let mut busy = router.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    router.report(|report| report.instances[&app.id()].in_flight == 1).await;

    let stopping = tokio::spawn(router.process.take().unwrap().stop(Duration::from_secs(10)));
    let (idle_rest, _) = idle.rest().await;
    eventually("new connections are refused", async || {
        tokio::net::TcpStream::connect(router.address()).await.is_err()
    })
    .await;
    release.send(()).unwrap();
    let answer = busy.answer().await;

    assert!(idle_rest.is_empty());
    assert_eq!((answer.text(), answer.header("Connection")), ("late", Some("close")));
    timeout(PATIENCE, stopping).await.unwrap().unwrap().unwrap();
    assert!(
        !RouterProcess::stop_running(&router.config.control_socket, Duration::ZERO).await.unwrap()
    );
}

#[tokio::test]
async fn drain_ends_at_its_deadline_and_tells_websockets_1001() {
    let mut router = TestRouter::start().await;
    let app = App::raw(|_, stream| async move {
        if let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await {
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await;
    let hanging = App::start(|_| Reply::Silence).await;
    router
        .serve([
            route("a.test", vec![app.endpoint.clone()]),
            route("b.test", vec![hanging.endpoint.clone()]),
        ])
        .await;
    let mut request =
        tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(format!(
            "ws://{}/",
            router.address()
        ))
        .unwrap();
    request.headers_mut().insert("Host", "a.test".parse().unwrap());
    let stream = tokio::net::TcpStream::connect(router.address()).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let mut stuck = router.connect().await;
    stuck.send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
    router.report(|report| report.instances[&hanging.id()].in_flight == 1).await;

    let started = Instant::now();
    let stopping = tokio::spawn(router.process.take().unwrap().stop(Duration::from_millis(300)));
    let close = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();

    let tokio_tungstenite::tungstenite::Message::Close(Some(frame)) = close else {
        panic!("{close:?}");
    };
    assert_eq!(u16::from(frame.code), 1001);
    assert!(started.elapsed() >= Duration::from_millis(300));
    timeout(PATIENCE, stopping).await.unwrap().unwrap().unwrap();
    assert!(stuck.try_answer(true).await.is_none());
}

#[tokio::test]
async fn drain_does_not_wait_for_tunnels_once_the_requests_are_answered() {
    let mut router = TestRouter::start().await;
    let app = App::raw(|_, stream| async move {
        if let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await {
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    let mut client = router.connect().await;
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send(request).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101"));
    router.report(|report| report.instances[&app.id()].tunnels == 1).await;

    // Far beyond the patience of this test.
    let stopping = tokio::spawn(router.process.take().unwrap().stop(Duration::from_secs(600)));

    client.expect_bytes(&[0x88, 0x02, 0x03, 0xe9]).await;
    drop(client);
    timeout(PATIENCE, stopping).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn sigterm_drains_and_the_signals_of_a_terminal_do_nothing() {
    let mut router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    let pid = Pid::from_raw(router.pid() as i32).unwrap();
    let mut client = router.connect().await;

    kill_process(pid, Signal::INT).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let after_signals = client.answer().await;
    drop(router.process.take());
    kill_process(pid, Signal::TERM).unwrap();

    assert_eq!(after_signals.text(), "hi");
    let (rest, _) = client.rest().await;
    assert!(rest.is_empty());
    eventually("the socket is closed", async || {
        tokio::net::TcpStream::connect(router.address()).await.is_err()
    })
    .await;
}

/// Says "late" to every request, once it is released.
async fn slow_app() -> (App, tokio::sync::watch::Sender<bool>) {
    let (release, released) = tokio::sync::watch::channel(false);
    let app = App::raw(move |_, mut stream| {
        let mut released = released.clone();
        async move {
            skim(&mut stream).await;
            released.wait_for(|is_released| *is_released).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, ok("late").as_bytes()).await.unwrap();
        }
    })
    .await;
    (app, release)
}

/// A client with a request under way at the `slow` instance behind `slow.test`.
async fn busy_client(router: &TestRouter, slow: &App) -> RawClient {
    let mut busy = router.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n").await;
    let is_there = |traffic: &InstanceTraffic| traffic.in_flight == 1;
    router.report(|report| report.instances.get(&slow.id()).is_some_and(is_there)).await;
    busy
}

/// Tells the router to end and waits for its successor.
async fn terminate(router: &TestRouter) -> Pid {
    let old = router.pid();
    let pid = Pid::from_raw(old as i32).unwrap();
    let mut status = router.process.as_ref().unwrap().status();
    kill_process(pid, Signal::TERM).unwrap();
    let is_another = |status: &RouterStatus| status.pid.is_some_and(|pid| pid != old);
    timeout(PATIENCE, status.wait_for(is_another)).await.expect("no successor").unwrap();
    pid
}

#[tokio::test]
async fn router_that_is_told_to_end_makes_way_while_it_finishes() {
    let router = TestRouter::start().await;
    let (slow, release) = slow_app().await;
    let quick = App::saying("hi").await;
    let routes = [
        route("slow.test", vec![slow.endpoint.clone()]),
        route("quick.test", vec![quick.endpoint.clone()]),
    ];
    router.serve(routes).await;
    let mut first = busy_client(&router, &slow).await;

    terminate(&router).await;
    // Taken from the queue by the next router while the old one still has a request.
    let after_one = router.get("quick.test", "/").await;
    router.report(|report| report.restarts == 1 && report.serving == Some((1, 1))).await;
    // What follows makes way as the first did.
    let mut second = busy_client(&router, &slow).await;
    terminate(&router).await;
    let after_two = router.get("quick.test", "/").await;
    release.send(true).unwrap();

    assert_eq!((after_one.text(), after_two.text()), ("hi", "hi"));
    assert_eq!((first.answer().await.text(), second.answer().await.text()), ("late", "late"));
    let report = router.report(|it| it.restarts == 2 && it.serving == Some((1, 1))).await;
    assert_eq!(report.handovers, 2);
}

#[tokio::test]
async fn router_that_makes_way_tells_what_it_has_counted() {
    // So seldom that it is not told before.
    let router = TestRouter::with(|limits| limits.report_ms = 600_000).await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    let mut counted = router.client.request_counts().unwrap();
    assert_eq!(router.get("a.test", "/").await.text(), "hi");

    terminate(&router).await;

    let mut answers = 0;
    while answers == 0 {
        let message = timeout(PATIENCE, counted.recv()).await.expect("it is not told").unwrap();
        answers += message.apps.iter().map(|(_, counts)| counts.answers[1]).sum::<u64>();
    }
    assert_eq!(answers, 1);
}

#[tokio::test]
async fn router_that_hangs_while_it_drains_is_killed() {
    let router = TestRouter::with(|limits| limits.drain_ms = 1_000).await;
    let (slow, _release) = slow_app().await;
    router.serve([route("slow.test", vec![slow.endpoint.clone()])]).await;
    let _busy = busy_client(&router, &slow).await;

    let old = terminate(&router).await;
    let _stopped = Killed(old);
    kill_process(old, Signal::STOP).unwrap();

    eventually("it is killed", async || rustix::process::test_kill_process(old).is_err()).await;
}

#[tokio::test]
async fn connection_that_was_just_made_is_answered_though_the_router_ends() {
    let router = TestRouter::with(|limits| limits.drain_unasked_ms = 60_000).await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    let old = router.pid();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(router.connect().await);
    }

    kill_process(Pid::from_raw(old as i32).unwrap(), Signal::TERM).unwrap();
    let mut status = router.process.as_ref().unwrap().status();
    let is_another = |status: &RouterStatus| status.pid.is_some_and(|pid| pid != old);
    timeout(PATIENCE, status.wait_for(is_another)).await.unwrap().unwrap();

    let mut last_ones = 0;
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!(answer.text(), "hi");
        last_ones += usize::from(answer.header("Connection") == Some("close"));
    }
    assert_ne!(last_ones, 0, "the old router had accepted none of them");
}

#[tokio::test]
async fn other_addresses_replace_the_running_router_without_losing_the_common_one() {
    let mut router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    let old = router.pid();
    drop(router.process.take());

    let mut config = router.config.clone();
    config.addresses.push("127.0.0.1:0".parse().unwrap());
    let next = RouterProcess::start(config).await.unwrap();

    let addresses = next.addresses().to_vec();
    assert_eq!(addresses.len(), 2);
    assert_eq!(addresses[0], router.address());
    assert_ne!(next.status().borrow().pid, Some(old));
    router.process = Some(next);
    router.report(|report| report.serving == Some((1, 1))).await;
    for address in addresses {
        let mut client = RawClient::connect(address).await;
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(client.answer().await.text(), "hi");
    }
}

#[tokio::test]
async fn other_trusted_proxies_replace_the_running_router() {
    let mut router = TestRouter::start().await;
    let old = router.pid();
    drop(router.process.take());

    let mut config = router.config.clone();
    config.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    let next = RouterProcess::start(config.clone()).await.unwrap();
    let next_pid = next.status().borrow().pid;
    drop(next);
    let same = RouterProcess::start(config).await.unwrap();

    assert_ne!(next_pid, Some(old));
    assert_eq!(same.status().borrow().pid, next_pid);
    router.process = Some(same);
}

/// A router that speaks version 1 of the control protocol, as far as the next one asks it. Its
/// process only waits.
struct OldRouter {
    process: std::process::Child,
    served: Option<std::thread::JoinHandle<()>>,
}

impl Drop for OldRouter {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl OldRouter {
    fn start(control_socket: &std::path::Path, listener: std::net::TcpListener) -> Self {
        let process = std::process::Command::new("sleep")
            .arg("600")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // The one before it has left its file.
        std::fs::remove_file(control_socket).unwrap();
        let (pid, address) = (process.id(), listener.local_addr().unwrap());
        let socket = std::os::unix::net::UnixListener::bind(control_socket).unwrap();
        let served = std::thread::spawn(move || {
            let (asked, _) = socket.accept().unwrap();
            assert_eq!(read_frame(&asked), r#""listeners""#);
            let answer = format!(
                r#"{{"listeners":{{"protocol":1,"pid":{pid},"addresses":["{address}"]}}}}"#
            );
            send_frame(&asked, &answer, &[listener.as_fd()]);
            let (told, _) = socket.accept().unwrap();
            assert_eq!(read_frame(&told), r#"{"drain":{"deadline_ms":30000}}"#);
            drop((socket, listener));
            send_frame(&told, r#""draining""#, &[]);
        });
        Self { process, served: Some(served) }
    }
}

fn read_frame(mut stream: &std::os::unix::net::UnixStream) -> String {
    let mut header = [0; 5];
    stream.read_exact(&mut header).unwrap();
    let length = u32::from_le_bytes(header[..4].try_into().unwrap());
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn send_frame(stream: &std::os::unix::net::UnixStream, text: &str, fds: &[BorrowedFd<'_>]) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let mut frame = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
    frame.push(1);
    frame.extend(text.as_bytes());
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(fds.is_empty() || ancillary.push(SendAncillaryMessage::ScmRights(fds)));
    let sent = sendmsg(stream, &[IoSlice::new(&frame)], &mut ancillary, SendFlags::empty());
    assert_eq!(sent.unwrap(), frame.len());
}

#[tokio::test]
async fn router_of_an_earlier_protocol_is_drained_and_replaced() {
    let mut router = TestRouter::start().await;
    let address = router.address();
    router.process.take().unwrap().stop(PATIENCE).await.unwrap();
    let listener = std::net::TcpListener::bind(address).unwrap();
    let mut old = OldRouter::start(&router.config.control_socket, listener);
    // Waits in the queue of the old one's socket for whoever takes it over.
    let mut client = router.connect().await;

    let next = RouterProcess::start(router.config.clone()).await.unwrap();
    let (has_replaced, was_adopted) = (next.has_replaced(), next.status().borrow().was_adopted);
    router.process = Some(next);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let answer = client.answer().await;
    old.served.take().unwrap().join().unwrap();

    assert!(has_replaced && !was_adopted);
    assert_eq!(answer.header("X-Cf-RouterError"), Some("unknown_route"));
}

#[tokio::test]
async fn router_gives_up_the_rights_of_root() {
    let router = TestRouter::start().await;
    router.serve([]).await;

    let status = std::fs::read_to_string(format!("/proc/{}/status", router.pid())).unwrap();

    let field = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert_eq!(field("Uid:"), "Uid:\t65534\t65534\t65534\t65534");
    assert_eq!(field("Gid:"), "Gid:\t65534\t65534\t65534\t65534");
    assert_eq!(field("CapEff:"), "CapEff:\t0000000000000000");
    assert_eq!(field("NoNewPrivs:"), "NoNewPrivs:\t1");
    let _report = router.client.report();
}

#[tokio::test]
async fn router_that_cannot_start_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = cupola_router::RouterConfig::new(
        env!("CARGO_BIN_EXE_cupola-router"),
        vec!["127.0.0.1:0".parse().unwrap()],
        directory.path().join("state"),
        directory.path().join("no/such/directory/router.sock"),
    );
    config.log_file = Some(directory.path().join("router.log"));

    let error = RouterProcess::start(config).await.err().unwrap();

    assert!(matches!(error, RouterProcessError::Ended { .. }), "{error}");
    let log = std::fs::read_to_string(directory.path().join("router.log")).unwrap();
    assert!(log.contains("cannot make the control socket"), "{log}");
}

#[tokio::test]
async fn sockets_of_a_service_manager_are_served_under_their_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Only between here and the spawn, as the descriptor goes to every child.
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&listener);
    let args = cupola_router::RouterArgs::new(
        cupola_router::Listen::Inherited(vec![number]),
        directory.path().join("state"),
        directory.path().join("router.sock"),
    );
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_cupola-router"))
        .arg("router")
        .args(args.to_args())
        .spawn()
        .unwrap();
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC).unwrap();
    drop(listener);

    let mut client = RawClient::connect(address).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let answer = client.answer().await;
    child.kill().unwrap();
    child.wait().unwrap();

    assert_eq!(answer.header("X-Cf-RouterError"), Some("no_route_table"));
}

#[tokio::test]
async fn down_stops_a_router_it_did_not_start() {
    let mut router = TestRouter::start().await;
    drop(router.process.take());

    let socket = &router.config.control_socket;
    let stopped = RouterProcess::stop_running(socket, Duration::from_secs(5)).await.unwrap();
    let again = RouterProcess::stop_running(socket, Duration::from_secs(5)).await.unwrap();

    assert_eq!((stopped, again), (true, false));
    assert!(tokio::net::TcpStream::connect(router.address()).await.is_err());
}
