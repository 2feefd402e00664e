//! `portcullis bench` as an operator runs it.

use std::io::{BufRead as _, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::cluster::database;
use super::program::{Serving, file, portcullis, run, told};

const QUESTION: [&str; 4] = ["bench", "user:hugo", "initiative.edit", "trail-atlas"];

#[test]
fn what_makes_no_sense_is_refused_in_a_sentence() {
    let (_folder, empty) = file("empty.jsonl", b"\n");
    let (_other, broken) = file("broken.jsonl", b"{\"subject\": \"ann\"}");
    let (empty, broken) = (empty.to_str().unwrap(), broken.to_str().unwrap());
    let cases: [(&[&str], &str); 13] = [
        (&["--rate", "0"], "0 is not in 1..=100000"),
        (&["--rate", "1000000"], "1000000 is not in 1..=100000"),
        (&["--rate", "1", "--duration", "11m"], "must be at most `10m`"),
        (&["--rate", "1", "--duration", "10"], "write a whole number and a unit"),
        (&["--rate", "1", "--warm-up", "1h"], "must be at most `10m`"),
        (&["--rate", "1", "--duration", "1ms"], "no call is due within 1ms at 1 a second"),
        (&["--rate", "1", "--max-in-flight", "0"], "0 is not in 1..=100000"),
        (&["--rate", "1", "--connections", "65"], "65 is not in 1..=64"),
        (&["--rate", "1", "--batch", "0"], "0 is not in 1..=10000"),
        (&["--rate", "1", "--consistency", ""], "write `minimize-latency`"),
        (&["--rate", "1", "--questions", empty], "cannot be used with"),
        (&[], "--rate"),
        (&["--rate", "1", "--server", "http://127.0.0.1:1"], "no server answers at"),
    ];
    for (arguments, told) in cases {
        let (status, out, error) = run(&[&QUESTION, arguments].concat());
        assert_eq!((status, out.as_str()), (2, ""), "{arguments:?}");
        assert!(error.contains(told), "{told}\n{error}");
    }
    for (arguments, told) in [
        (&["--questions", empty][..], "holds no questions"),
        (&["--questions", broken], "`ann` is no subject"),
        (&["--questions", "nowhere.jsonl"], "nowhere.jsonl"),
        (&["user:ann", "portfolio.view"], "<PORTFOLIO>"),
    ] {
        let (status, _, error) = run(&[&["bench", "--rate", "1"], arguments].concat());
        assert_eq!(status, 2, "{error}");
        assert!(error.contains(told), "{told}\n{error}");
    }
}

#[test]
fn a_question_that_is_given_is_asked_whatever_the_environment_says() {
    let mut command = portcullis(&[&QUESTION[..], &["--rate", "1"]].concat());
    command.env("PORTCULLIS_QUESTIONS", "nowhere.jsonl");
    command.env("PORTCULLIS_SERVER", "http://127.0.0.1:1");
    let (status, _, error) = told(command.output().unwrap());
    assert_eq!(status, 2);
    assert!(error.contains("no server answers at"), "{error}");
}

#[tokio::test]
async fn it_tells_the_plan_and_what_came_of_it() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let load = ["--rate", "200", "--duration", "1s", "--warm-up", "100ms", "--connections", "2"];
    let (status, out, error) = server.run(&[&QUESTION[..], &load].concat());
    assert_eq!((status, error.as_str()), (0, ""));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], format!("target {}", server.uri));
    assert_eq!(
        lines[1],
        "plan   200 calls/s, single checks, 1 different; 1s after 100ms of warm-up; 2 connections, \
         at most 1000 calls in flight"
    );
    // A machine that is late offers less.
    let rates = lines[2].strip_prefix("offered ").unwrap().split_once(" calls/s, ok ").unwrap();
    let (offered, ok) = (rates.0, rates.1.strip_suffix(" calls/s").unwrap());
    let (offered, ok): (f64, f64) = (offered.parse().unwrap(), ok.parse().unwrap());
    assert!(0.0 < ok && ok <= offered && offered <= 200.0, "{out}");
    assert_eq!(lines[3], "200 calls were due, 200 left, 0 could not: too many in flight");
    assert!(lines[4].starts_with("CODE  CALLS  SHARE"), "{out}");
    assert!(lines[5].starts_with("OK    200    100.0 %"), "{out}");
    assert_eq!(lines[6], "latency of OK, from when the call was due:");
    assert!(lines[7..].iter().any(|line| line.ends_with('#')), "{out}");
}

#[tokio::test]
async fn as_json_it_is_one_object_and_codes_are_told_apart() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let good = r#"{"subject":"user:ann","permission":"portfolio.view","portfolio":"hiring"}"#;
    let expecting = good.replace('}', r#","allowed":true}"#);
    let bad = good.replace("portfolio.view", "portfolio.veiw");
    let content = [good, &expecting, &bad, good].join("\n");
    let (_folder, path) = file("questions.jsonl", content.as_bytes());
    let questions = ["--questions", path.to_str().unwrap(), "--json"];
    let load = ["--rate", "100", "--duration", "1s", "--warm-up", "10ms"];
    let (status, out, plan) = server.run(&[&["bench"], &questions[..], &load].concat());
    assert_eq!(status, 0, "{plan}");
    assert!(plan.starts_with("target http://127.0.0.1:"), "{plan}");
    let told: Value = serde_json::from_str(&out).unwrap();
    let outcomes = &told["outcomes"];
    assert_eq!(
        (&told["due"], &told["sent"], &told["not_sent"]),
        (&100.into(), &100.into(), &0.into())
    );
    assert_eq!(outcomes["OK"]["count"], 75);
    assert_eq!(outcomes["INVALID_ARGUMENT"]["count"], 25);
    assert_eq!(told["interrupted"], false);
    assert_eq!(told["plan"]["rate"], 100);
    assert_eq!(told["plan"]["questions"], 4);
    for field in ["elapsed_seconds", "offered_per_second", "ok_per_second"] {
        assert!(told[field].as_f64().unwrap() > 0.0, "{field}");
    }
    for field in ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"] {
        assert!(outcomes["OK"][field].as_u64().unwrap() > 0, "{field}");
        assert!(told["lag"][field].is_u64(), "{field}");
    }

    let batches = [&["bench"], &questions[..], &load, &["--batch", "3"]].concat();
    let (status, out, _) = server.run(&batches);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &told["outcomes"]["OK"]["count"]), (0, &100.into()));
    assert_eq!(told["plan"]["batch"], 3);
}

/// Starts it, and returns when it has told its plan: it is connected then.
fn begin(server: &Serving, load: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut command = server.command(&[&QUESTION[..], load].concat());
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    for _ in 0..2 {
        output.read_line(&mut String::new()).unwrap();
    }
    (process, output)
}

#[tokio::test]
async fn calls_leave_though_the_server_is_stalled_and_wait_from_when_they_were_due() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let load = ["--rate", "100", "--duration", "2s", "--warm-up", "500ms"];
    let (mut process, mut output) = begin(&server, &load);
    server.signal(Signal::STOP);
    let mut out = String::new();
    output.read_to_string(&mut out).unwrap();
    server.signal(Signal::CONT);
    assert_eq!(process.wait().unwrap().code(), Some(0));
    assert!(out.contains("200 calls were due, 200 left, 0 could not"), "{out}");
    let row = out.lines().find(|line| line.starts_with("UNANSWERED")).unwrap();
    let cells: Vec<_> = row.split_whitespace().collect();
    // UNANSWERED 200 100.0 % p50 p90 p99 p99.9 max. Answers were awaited for five seconds after the
    // last call; half of the calls were due a second before it, and the first two seconds.
    let (median, max): (f64, f64) = (cells[4].parse().unwrap(), cells[8].parse().unwrap());
    assert_eq!(cells[1], "200");
    assert!(median >= 5_950.0 && max >= 6_950.0, "{row}");
}

#[tokio::test]
async fn interrupted_it_tells_what_it_has_measured() {
    let database = database().await;
    let server = Serving::start(&database.url, &["--demo"]);
    let (mut process, mut output) = begin(&server, &["--rate", "100", "--duration", "10m"]);
    kill_process(Pid::from_child(&process), Signal::INT).unwrap();
    let mut out = String::new();
    output.read_to_string(&mut out).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
    assert!(out.starts_with("interrupted after "), "{out}");
}

/// Starts it against a listener of the test's own, and takes its connection.
fn begin_without_server(scheme: &str, load: &[&str]) -> (Child, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("{scheme}://{}", listener.local_addr().unwrap());
    let server = ["--server", &server, "--connections", "1"];
    let mut command = portcullis(&[&QUESTION[..], &server, load].concat());
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    (process, listener.accept().unwrap().0)
}

/// Reads HTTP/2 until a call has begun.
fn read_a_call(connection: &mut impl Read) {
    const HEADERS: u8 = 1;
    connection.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()]).unwrap();
    let mut kind = 0;
    while kind != HEADERS {
        let mut head = [0; 9];
        connection.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        connection.read_exact(&mut vec![0; length as usize]).unwrap();
        kind = head[3];
    }
}

#[test]
fn interrupted_twice_it_does_not_wait_for_answers() {
    let load = ["--rate", "1", "--warm-up", "1ms", "--duration", "10m"];
    let (mut process, mut connection) = begin_without_server("http", &load);
    read_a_call(&mut connection);
    let pid = Pid::from_child(&process);
    let interrupt = || kill_process(pid, Signal::INT).unwrap();
    interrupt();
    // Said when the first was heard.
    let mut error = BufReader::new(process.stderr.take().unwrap());
    let mut remark = String::new();
    error.read_line(&mut remark).unwrap();
    assert!(remark.starts_with("interrupted: waiting for answers"), "{remark}");
    interrupt();
    let (status, out, _) = told(process.wait_with_output().unwrap());
    assert_eq!(status, 0);
    let row = out.lines().find(|line| line.starts_with("UNANSWERED")).unwrap();
    let max: f64 = row.split_whitespace().last().unwrap().parse().unwrap();
    // So long it would have waited.
    assert!(max < 5_000.0, "{row}");
}

#[test]
fn interrupted_while_it_connects_it_ends() {
    let (process, mut connection) = begin_without_server("https", &["--rate", "1"]);
    // The handshake has begun, and will not be answered.
    connection.read_exact(&mut [0]).unwrap();
    kill_process(Pid::from_child(&process), Signal::INT).unwrap();
    let (status, out, error) = told(process.wait_with_output().unwrap());
    assert_eq!((status, out.as_str()), (2, ""), "{error}");
    assert!(error.contains("interrupted while connecting"), "{error}");
}
