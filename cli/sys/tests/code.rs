//! What becomes of a process that gives its code back. A process of its own: other tests would bring theirs in meanwhile.

/// Resident KiB of this program's code, by `/proc/self/smaps`.
fn resident_code() -> usize {
    let program = std::fs::read_link("/proc/self/exe").unwrap();
    let program = program.to_str().unwrap();
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut ours = false;
    let mut resident = 0;
    for line in smaps.lines() {
        if line.contains(" r-xp ") || line.contains("-p ") {
            ours = line.contains(" r-xp ") && line.ends_with(program);
        }
        if ours && let Some(rest) = line.strip_prefix("Rss:") {
            resident += rest
                .trim()
                .trim_end_matches(" kB")
                .parse::<usize>()
                .unwrap();
        }
    }
    resident
}

#[test]
fn code_that_is_given_back_is_gone_from_memory_and_comes_again_when_it_is_run() {
    let before = resident_code();
    assert!(before > 0);
    let mapped = weir_sys::release_code().unwrap();
    assert!(mapped > 0);
    // Reading the figure runs code again, but by far not all that starting has run.
    let after = resident_code();
    assert!(after < before, "{after} KiB of {before}");
    // What is run again is what it was.
    let sorted = {
        let mut words: Vec<String> = ["c", "a", "b"].map(String::from).into();
        words.sort();
        words.join("")
    };
    assert_eq!(sorted, "abc");
}
