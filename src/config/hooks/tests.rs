use std::time::{Duration, Instant};

use super::*;
use crate::sys::file;

fn parse(json: serde_json::Value) -> Result<Hooks, Problems> {
    Hooks::parse(Some(&serde_json::from_value(json).unwrap()))
}

/// A `createRuntime` hook that runs a script.
fn script(script: &str, timeout: Option<u32>) -> Hook {
    Hook {
        path: "/bin/sh".into(),
        args: vec!["sh".into(), "-c".into(), script.into()],
        env: Some(vec!["PATH=/bin:/usr/bin".into(), "GREETING=hello world".into()]),
        timeout,
    }
}

fn run(hook: Hook, state: &[u8]) -> Result<(), String> {
    let hooks = Hooks { create_runtime: vec![hook], ..Hooks::default() };
    hooks.run(Kind::CreateRuntime, state, None).map_err(|error| error.to_string())
}

fn failure(text: &str) -> String {
    run(script(text, None), b"{}").unwrap_err()
}

#[test]
fn what_the_spec_forbids_is_named() {
    let problems = parse(serde_json::json!({
        "prestart": [{ "path": "/ok" }, { "path": "relative" }],
        "createContainer": [{ "path": "/ok", "timeout": 0 }, { "path": "/ok", "timeout": -1 }],
        "poststop": [{ "path": "/a\0b", "args": ["x", "\0"], "env": ["A=\0"] }],
    }));
    assert_eq!(
        problems.unwrap_err().to_string(),
        "hooks.prestart[1].path: \"relative\" is not absolute; \
         hooks.createContainer[0].timeout: 0 is not greater than zero; \
         hooks.createContainer[1].timeout: -1 is not greater than zero; \
         hooks.poststop[0].path: contains a NUL byte; \
         hooks.poststop[0].args[1]: contains a NUL byte; \
         hooks.poststop[0].env[0]: contains a NUL byte"
    );
}

#[test]
fn an_absent_and_an_empty_environment_differ() {
    let hooks =
        parse(serde_json::json!({ "poststart": [{ "path": "/a" }, { "path": "/b", "env": [] }] })).unwrap();
    assert_eq!(hooks.poststart[0].env, None);
    assert_eq!(hooks.poststart[1].env, Some(vec![]));
    assert_eq!(Hooks::parse(None).unwrap(), Hooks::default());
}

#[test]
fn the_state_file_keeps_them() {
    let hooks = parse(serde_json::json!({
        "poststart": [{ "path": "/a", "args": ["a", "b"], "env": ["A=1"], "timeout": 3 }],
        "poststop": [{ "path": "/b" }],
    }))
    .unwrap();
    let text = serde_json::to_string(&hooks).unwrap();
    assert_eq!(serde_json::from_str::<Hooks>(&text).unwrap(), hooks);
    assert_eq!(
        text,
        r#"{"poststart":[{"path":"/a","args":["a","b"],"env":["A=1"],"timeout":3}],"poststop":[{"path":"/b"}]}"#
    );
}

#[test]
fn a_failure_quotes_the_output_in_one_line() {
    assert_eq!(
        failure("echo one; echo two >&2; exit 3"),
        "hooks.createRuntime[0]: /bin/sh: exit status 3, output: one\\ntwo"
    );
    assert_eq!(failure("exit 1"), "hooks.createRuntime[0]: /bin/sh: exit status 1");
}

#[test]
fn a_signal_has_its_name() {
    assert_eq!(failure("kill -TERM $$"), "hooks.createRuntime[0]: /bin/sh: killed by SIGTERM");
    assert_eq!(failure("kill -40 $$"), "hooks.createRuntime[0]: /bin/sh: killed by signal 40");
}

#[test]
fn a_program_that_cannot_be_executed_names_the_errno() {
    let missing = Hook { path: "/nonexistent".into(), ..script("", None) };
    assert_eq!(
        run(missing, b"{}").unwrap_err(),
        "hooks.createRuntime[0]: posix_spawn(\"/nonexistent\"): ENOENT: no such file or directory"
    );
    let directory = Hook { path: "/".into(), ..script("", None) };
    assert!(run(directory, b"{}").unwrap_err().contains("EACCES: permission denied"));
}

#[test]
fn after_the_timeout_the_whole_group_is_dead() {
    let begin = Instant::now();
    let mark = format!("3{:07}", std::process::id());
    let text = format!("trap '' TERM; echo begun; (trap '' TERM; sleep {mark}) & sleep {mark}; sleep {mark}");
    let error = run(script(&text, Some(1)), b"{}").unwrap_err();
    assert_eq!(
        error,
        "hooks.createRuntime[0]: /bin/sh: hook ran past specified timeout of 1.0s, output: begun"
    );
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(60), "{took:?}");
    // A killed process is gone when its parent, here whoever adopted it, has reaped it; its arguments go before.
    while sleeps(&mark) {
        assert!(begin.elapsed() < Duration::from_secs(60), "a sleep {mark} has survived");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn sleeps(mark: &str) -> bool {
    let wanted = format!("sleep\0{mark}");
    let processes = std::fs::read_dir("/proc").unwrap().map(|process| process.unwrap().path());
    let mut lines = processes.map(|process| std::fs::read(process.join("cmdline")).unwrap_or_default());
    lines.any(|line| line.starts_with(wanted.as_bytes()))
}

#[test]
fn the_state_is_read_to_its_end() {
    run(
        script(r#"read -r state; test "$state" = '{"id":"web"}'; cat >/dev/null"#, None),
        b"{\"id\":\"web\"}\n",
    )
    .unwrap();
    let state = vec![b'x'; 4 << 20];
    run(script("test $(wc -c) = 4194304", None), &state).unwrap();
}

#[test]
fn a_large_state_that_is_not_read_blocks_nobody() {
    let state = vec![b'x'; 4 << 20];
    run(script("exit 0", None), &state).unwrap();
    run(script("exec 0<&-; exit 0", None), &state).unwrap();
    run(script("exec 0<&-; sleep 0.1; exit 0", Some(5)), &state).unwrap();
}

#[test]
fn a_background_child_that_keeps_the_pipe_is_not_waited_for() {
    let begin = Instant::now();
    run(script("sleep 40 2>/dev/null & exit 0", None), b"{}").unwrap();
    run(script("yes & (sleep 1; kill $!) & exit 0", None), b"{}").unwrap();
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn a_lot_of_output_is_quoted_by_its_end() {
    let error = failure("head -c 1048576 /dev/zero | tr '\\0' x >&2; echo the end >&2; exit 7");
    assert!(error.starts_with("hooks.createRuntime[0]: /bin/sh: exit status 7, output: …xxx"), "{error}");
    assert!(error.ends_with("xxxthe end"), "{error}");
    assert!(error.len() < 4300, "{}", error.len());
    run(script("head -c 1048576 /dev/zero", None), b"{}").unwrap();
}

#[test]
fn it_works_without_pidfds() {
    let hook = script("echo a; exec >/dev/null 2>&1; sleep 0.2; exit 4", None);
    let mut running = hook
        .start(&Surroundings { state: b"{}", cwd: None, env: None, output: &HookOutput::default() })
        .unwrap();
    running.forget_pidfd();
    assert!(matches!(running.until_end(Some(5)).unwrap(), End::Exited(Exit::Code(4))));
    assert_eq!(running.output(), "a");

    let mut running = script("sleep 5", None)
        .start(&Surroundings { state: b"{}", cwd: None, env: None, output: &HookOutput::default() })
        .unwrap();
    running.forget_pidfd();
    assert!(matches!(running.until_end(Some(1)).unwrap(), End::TimedOut));
}

#[test]
fn its_surroundings_are_as_asked() {
    // A descriptor that is not close-on-exec, as those that a caller wants preserved.
    let null = file::open(file::here(), "/dev/null", file::OFlag::O_RDONLY, file::Mode::empty()).unwrap();
    file::set_close_on_exec(&null, false).unwrap();
    let text = r#"
        test "$GREETING" = "hello world" || echo env
        test $(env | grep -vc -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=) = 2 || env
        test "$(pwd)" = /usr || pwd
        for fd in /proc/$$/fd/*; do test ${fd##*/} -le 2 || readlink $fd; done
        grep -q 'SigBlk:.0000000000000000' /proc/self/status || grep SigBlk /proc/self/status
        grep -q 'SigIgn:.0000000000000000' /proc/self/status || grep SigIgn /proc/self/status
        read -r _ _ _ _ group _ </proc/$$/stat
        test $group = $$ || echo group $group
        exit 9"#;
    let hooks = Hooks { poststart: vec![script(text, None)], ..Hooks::default() };
    let error = hooks.run(Kind::Poststart, b"{}", Some(Path::new("/usr"))).unwrap_err().to_string();
    assert_eq!(error, "hooks.poststart[0]: /bin/sh: exit status 9");

    let inherits = Hook { env: None, ..script("test -n \"$PATH\"", None) };
    run(inherits.clone(), b"{}").unwrap();
    let hooks = Hooks { start_container: vec![inherits], ..Hooks::default() };
    hooks.run_in_container(b"{}", &["PATH=/bin".into()]).unwrap();
}

#[test]
fn a_hook_of_the_container_does_not_see_our_environment() {
    let shows = Hook { env: None, ..script("env | grep -v -e ^PWD= -e ^_= -e ^SHLVL=; exit 1", None) };
    let hooks = Hooks { start_container: vec![shows], ..Hooks::default() };
    let error = hooks.run_in_container(b"{}", &["ONLY=this".into()]).unwrap_err().to_string();
    assert_eq!(error, "hooks.startContainer[0]: /bin/sh: exit status 1, output: ONLY=this");
}

#[test]
fn the_first_failure_ends_a_run_and_not_a_run_of_all() {
    let hooks = ["exit 1", "exit 0", "exit 2"].map(|text| script(text, None)).to_vec();
    let hooks = Hooks { poststop: hooks, ..Hooks::default() };
    let first = hooks.run(Kind::Poststop, b"{}", None).unwrap_err().to_string();
    assert_eq!(first, "hooks.poststop[0]: /bin/sh: exit status 1");
    let failures: Vec<String> =
        hooks.run_all(Kind::Poststop, b"{}", None).iter().map(ToString::to_string).collect();
    assert_eq!(failures, [first.as_str(), "hooks.poststop[2]: /bin/sh: exit status 2"]);
}

#[test]
fn the_output_goes_where_the_annotation_says() {
    let path = std::env::temp_dir().join(format!("crust-hook-output-{}", std::process::id()));
    let output = HookOutput { stdout: Some(path.clone()), stderr: None };
    let create_runtime = vec![script("echo out; echo err >&2; exit 3", None); 2];
    let hooks = Hooks { create_runtime, output, ..Hooks::default() };
    let error = hooks.run(Kind::CreateRuntime, b"{}", None).unwrap_err().to_string();
    assert!(error.ends_with("exit status 3, output: err"), "{error}");
    assert_eq!(hooks.run_all(Kind::CreateRuntime, b"{}", None).len(), 2);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "out\nout\nout\n");
    std::fs::remove_file(path).unwrap();
}
