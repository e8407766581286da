//! What changes a flow without standing in it: it is never guessed, and what is harmless needs no probe.

use crate::text::{good, options, small, tried};
use dalsegno_flowfile::metaflow::read;
use dalsegno_scheduler::expr::Template;

/// A small flow: lines above the class, decorators of the flow, lines in its body, decorators of `start`, lines
/// below the class.
fn flow(above: &str, decorator: &str, body: &str, of_step: &str, below: &str) -> String {
    let body: String = body.lines().map(|it| format!("    {it}\n")).collect();
    let of_step = match of_step {
        "" => String::new(),
        it => format!("    {it}\n"),
    };
    small(&format!("{above}\n{decorator}"), &body)
        .replacen("    @step\n", &format!("{of_step}    @step\n"), 1)
        .replace("\nif __name__", &format!("\n{below}\nif __name__"))
}

fn dynamic(text: &str) -> Vec<String> {
    let about = good(text).metaflow.expect("Metaflow");
    assert_eq!(about.needs_probe, !about.dynamic.is_empty());
    about.dynamic.into_iter().map(|it| it.what).collect()
}

#[track_caller]
fn unknown(text: &str) {
    assert!(!dynamic(text).is_empty(), "read without a doubt:\n{text}");
}

#[track_caller]
fn known(text: &str) {
    let dynamic = dynamic(text);
    assert!(dynamic.is_empty(), "{dynamic:?}:\n{text}");
}

#[test]
fn a_decorator_of_the_users_own_may_bring_metaflows() {
    for (above, decorator) in [
        (
            "def prod(f): return environment(vars={'A': '1'})(retry(times=2)(f))",
            "@prod",
        ),
        (
            "def prod(n): return lambda f: timeout(seconds=9)(retry(times=n)(f))",
            "@prod(2)",
        ),
        (
            "import functools\nR = functools.partial(retry, times=2)",
            "@R()",
        ),
        ("", "@(lambda f: retry(times=2)(f))"),
        ("D = {'r': retry(times=2)}", "@D['r']"),
        (
            "if 1:\n    R = retry(times=2)\nelse:\n    R = retry(times=1)",
            "@R",
        ),
        ("", "@retry(times=2) if True else (lambda f: f)"),
        ("from company import traced", "@traced"),
        ("from metaflow import newest", "@newest"),
        (
            "def all_tries(f):\n    f.decorators.clear()\n    return f",
            "@all_tries",
        ),
    ] {
        unknown(&flow(above, "", "", decorator, ""));
    }
}

#[test]
fn a_decorator_that_only_wraps_needs_no_probe() {
    let wraps = "import functools, time, logging\nlog = logging.getLogger('x')\ndef timed(f):\n    @functools.wraps(f)\n    def inner(self):\n        begin = time.time()\n        log.info('%s', f.__name__)\n        return f(self)\n    return inner";
    known(&flow(wraps, "", "", "@timed", ""));
    let registered = "SEEN = []\ndef seen(f):\n    SEEN.append(f.__name__)\n    return f";
    known(&flow(registered, "", "", "@seen", ""));
    known(&flow(
        "from metaflow import slurm",
        "",
        "",
        "@slurm(partition='x')",
        "",
    ));
    unknown(&flow(
        &wraps.replace("return f(self)", "return retry(times=1)(f)(self)"),
        "",
        "",
        "@timed",
        "",
    ));
}

#[test]
fn a_decorator_of_the_users_own_may_make_a_step() {
    let text = flow(
        "def mine(f): return step(retry(times=2)(f))",
        "",
        "",
        "",
        "",
    )
    .replacen("    @step\n    def end", "    @mine\n    def end", 1);
    let about = good(&text).metaflow.expect("Metaflow");
    assert!(about.needs_probe && !about.complete);
    // One that has nothing to do with steps is left alone.
    let helper = "@functools.lru_cache\ndef helper(self):\n    return 1";
    known(&flow("import functools", "", helper, "", ""));
}

#[test]
fn parameters_that_are_not_written_out_are_not_lost() {
    for (above, body, below) in [
        (
            "def common(n): return Parameter(n, required=True)",
            "a = common('a')",
            "",
        ),
        (
            "class Mine(Parameter):\n    pass",
            "a = Mine('a', required=True)",
            "",
        ),
        (
            "import functools\nmake = functools.partial(Parameter, 'a')",
            "a = make()",
            "",
        ),
        ("from company import common", "a = common('a')", ""),
        ("", "a = (x := Parameter('a', default=1))", ""),
        ("", "a = Parameter('a', default=1) if True else None", ""),
        ("", "a = Parameter('a') or None", ""),
        ("", "for n in 'ab':\n    locals()[n] = Parameter(n)", ""),
        ("", "vars()['a'] = Parameter('a')", ""),
        ("", "exec(\"a = Parameter('a', required=True)\")", ""),
        ("", "", "Small.a = Parameter('a', default=1)"),
        ("", "", "setattr(Small, 'a', Parameter('a', default=1))"),
        ("def add(c): c.a = Parameter('a')", "", "add(Small)"),
        ("from company import KW", "a = Parameter('a', **KW)", ""),
        ("ARGS = ('a',)", "a = Parameter(*ARGS)", ""),
        (
            "",
            "a = Parameter('a', type=lambda v: int(v), default=3)",
            "",
        ),
        (
            "import os",
            "a = Parameter('a', required=bool(os.getenv('A')))",
            "",
        ),
        ("", "a = Parameter('a')\na.name = 'b'", ""),
    ] {
        unknown(&flow(above, "", body, "", below));
    }
}

#[test]
fn values_of_a_class_that_are_no_parameters_need_no_probe() {
    for (above, body) in [
        (
            "import os, json",
            "x = os.path.join('a', 'b')\ny = json.loads('{}')\nz = str(1)",
        ),
        ("import logging", "log = logging.getLogger(__name__)"),
        (
            "def load(): return {'a': [1]}",
            "x = load()\ny = 'a b'.split()\nz = [i for i in range(3)]",
        ),
        (
            "from dataclasses import dataclass\n@dataclass\nclass Box:\n    a: int = 1",
            "box = Box(2)",
        ),
        (
            "import numpy as np",
            "w = np.zeros(3)\n_hidden = unknown_helper = None",
        ),
    ] {
        known(&flow(above, "", body, "", ""));
    }
}

#[test]
fn parameters_in_other_forms_are_read() {
    let text = flow(
        "KW = {'default': 3, 'type': int, 'help': 'x'}",
        "",
        "a, b = Parameter('a', default=1), Parameter('b', default='t')\nc = Parameter('c', **KW)\nd = e = Parameter('d', default=1)\nf = Parameter('f', default=1)\ndel f",
        "",
        "",
    );
    known(&text);
    let file = good(&text);
    let params = &file.flow.spec().params;
    let names: Vec<&str> = params.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert_eq!(params[2].default, Some(Template::exact(3.into())));
}

#[test]
fn constants_that_change_unseen_decide_nothing() {
    let cron = "C = '0 1 * * ? *'\n";
    let list = "L = ['0 1 * * ? *', '0 2 * * ? *']\n";
    let dict = "K = {'cron': '0 1 * * ? *'}\n";
    for (constant, change, decorator) in [
        (dict, "A = K\nA['cron'] = '0 2 * * ? *'", "@schedule(**K)"),
        (
            dict,
            "def f(d): d['cron'] = '0 2 * * ? *'\nf(K)",
            "@schedule(**K)",
        ),
        (
            cron,
            "[C := '0 %d * * ? *' % i for i in range(3)]",
            "@schedule(cron=C)",
        ),
        (cron, "globals()['C'] = '0 2 * * ? *'", "@schedule(cron=C)"),
        (cron, "exec(\"C = '0 2 * * ? *'\")", "@schedule(cron=C)"),
        (
            cron,
            "match '0 2 * * ? *':\n    case C: pass",
            "@schedule(cron=C)",
        ),
        (cron, "print(C := '0 2 * * ? *')", "@schedule(cron=C)"),
        (cron, "with open('x') as C: pass", "@schedule(cron=C)"),
        (
            cron,
            "try: pass\nexcept ValueError as C: pass",
            "@schedule(cron=C)",
        ),
        (
            list,
            "M = L\nM.insert(0, '0 2 * * ? *')",
            "@schedule(cron=L[0])",
        ),
        (
            list,
            "M = {'l': L}\nM['l'][0] = '0 2 * * ? *'",
            "@schedule(cron=L[0])",
        ),
        (list, "print(L.reverse())", "@schedule(cron=L[0])"),
        (list, "r = L.reverse\nr()", "@schedule(cron=L[0])"),
        (list, "def g(x=L): x.reverse()\ng()", "@schedule(cron=L[0])"),
        (list, "def g(): L.reverse()\ng()", "@schedule(cron=L[0])"),
    ] {
        unknown(&flow(&format!("{constant}{change}"), decorator, "", "", ""));
        known(&flow(constant, decorator, "", "", ""));
    }
    unknown(&flow(
        "",
        "",
        "",
        "",
        "Small = schedule(cron='0 2 * * ? *')(Small)",
    ));
    unknown(&flow("", "", "", "", "retry(times=4)(Small.start)"));
}

#[test]
fn constants_that_are_only_looked_at_count() {
    let above = "L = ['0 1 * * ? *']\nE = {'A': '1'}\nprint(len(L), L, sorted(E))\nfor x in L: pass\nJOINED = ','.join(L) + E['A']\ndef never(): L.clear()\ndef used(): return E.get('A')\nused()";
    let text = flow(
        above,
        "@schedule(cron=L[0])",
        "",
        "@environment(vars=E)",
        "",
    );
    known(&text);
    // The bodies of steps run in tasks.
    known(&text.replacen(
        "        self.next",
        "        L.clear(); self.l = L\n        self.next",
        1,
    ));
}

#[test]
fn names_of_the_class_come_before_those_of_the_file() {
    for body in [
        "for X in (2,): pass",
        "X = 2\nX += 1",
        "(X := 2)",
        "if True: X = 2",
        "from consts import X",
        "with open('x') as X: pass",
    ] {
        unknown(&flow("X = 1", "", body, "@retry(times=X)", ""));
    }
    known(&flow("X = 1", "", "X, Y = 2, 3", "@retry(times=X)", ""));
    for body in [
        "def retry(**k): return lambda f: f",
        "retry = (lambda **k: (lambda f: f))",
        "from metaflow import catch as retry",
    ] {
        unknown(&flow("", "", body, "@retry(times=2)", ""));
    }
}

#[test]
fn a_decorator_may_take_the_name_of_what_it_is_made_of() {
    let text = flow("retry = retry(times=2)", "", "", "@retry", "");
    known(&text);
    let spec = good(&text).flow.spec().clone();
    assert_eq!(spec.steps[0].retry.times, 2);
}

#[test]
fn a_step_under_a_condition_is_asked_by_a_probe() {
    let body = "if True:\n    @step\n    def middle(self): self.next(self.end)\nelse:\n    @step\n    def middle(self): self.next(self.other)";
    let text = flow("", "", body, "", "").replacen(
        "self.next(self.end)\n\n",
        "self.next(self.middle)\n\n",
        1,
    );
    let about = good(&text).metaflow.expect("Metaflow");
    assert!(about.needs_probe && !about.complete);
}

#[test]
fn a_flow_that_an_uncalled_function_makes_is_not_taken_for_the_files() {
    let other = "class Other(FlowSpec):\n    @step\n    def start(self): self.next(self.end)\n    @step\n    def end(self): pass\ndef unused():\n    Other()";
    let text = flow("", "", "", "", other).replace("    Small()", "    globals()['Small']()");
    let found = tried(&text).expect_err("refused");
    assert_eq!(
        found.iter().next().map(|it| it.code),
        Some("metaflow.two_flows")
    );
}

#[test]
fn other_modules_may_change_constants() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
    };
    write("consts.py", "CRON = '0 1 * * ? *'\nE = {'A': '1'}\nX = 3\n");
    write(
        "changer.py",
        "import consts\nconsts.CRON = '0 2 * * ? *'\nconsts.E['A'] = '2'\n",
    );
    let path = folder.path().join("flow.py");
    let about = |above: &str, decorator: &str, of_step: &str| {
        std::fs::write(&path, flow(above, decorator, "", of_step, "")).expect("written");
        let file = read(&path, &options()).expect("valid");
        (
            file.flow.spec().clone(),
            file.metaflow.expect("Metaflow").needs_probe,
        )
    };
    let cron = "@schedule(cron=consts.CRON)";
    let vars = "@environment(vars=consts.E)";
    assert!(!about("import consts", cron, vars).1);
    assert!(about("import consts, changer", cron, "").1);
    assert!(about("import consts, changer", "", vars).1);
    assert!(
        about(
            "setattr(__import__('consts'), 'CRON', 'x')\nimport consts",
            cron,
            ""
        )
        .1
    );
    let (spec, probe) = about("X = 1\nfrom consts import *", "", "@retry(times=X)");
    assert_eq!((spec.steps[0].retry.times, probe), (3, false));
}

#[test]
fn files_in_other_encodings_are_read_as_they_say() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("flow.py");
    let text = |coding: &str| {
        let text = small("", "    a = Parameter('a', default='caf\u{e9}')\n");
        format!("# -*- coding: {coding} -*-\n{text}")
    };
    let latin = |text: &str| -> Vec<u8> {
        text.chars()
            .map(|it| u8::try_from(u32::from(it)).expect("Latin-1"))
            .collect()
    };
    let default = || {
        let file = read(&path, &options()).expect("valid");
        file.flow.spec().params[0].default.clone()
    };
    for coding in ["latin-1", "cp1252"] {
        std::fs::write(&path, latin(&text(coding))).expect("written");
        assert_eq!(default(), Some(Template::exact("caf\u{e9}".into())));
    }
    std::fs::write(&path, text("latin-1")).expect("written");
    assert_eq!(default(), Some(Template::exact("caf\u{c3}\u{a9}".into())));
    std::fs::write(&path, latin(&text("cp1251"))).expect("written");
    let found = read(&path, &options()).expect_err("refused");
    assert_eq!(
        found.iter().next().map(|it| it.code),
        Some("metaflow.encoding")
    );
}
