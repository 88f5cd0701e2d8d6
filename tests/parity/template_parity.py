"""Compare `fmpipe render` with Python's jinja2, set up as transformers' apply_chat_template sets it up.

    python template_parity.py PATH/TO/fmpipe SHARED_DATA [--random N] [--table FILE [--write]]

Needs jinja2. Renders every template below SHARED_DATA/chat-templates (*.jinja, and chat_template members of JSON files) with
every context there, with conversations of SHARED_DATA/sgd, and with conversations made here for what those leave out; then N
random templates of a small grammar. Both must give the same bytes, or both an error. Prints every difference; exits 1 if
there is one. FILE is the page of the reference that says how each template did: it must say what this run found; --write
writes it.
"""

import argparse
import datetime
import json
import os
import random
import re
import subprocess
import sys
import tempfile

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

DAY = "2024-07-26"


class Generation(jinja2.ext.Extension):
    """{% generation %}: its body, marked."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(form):
    return datetime.datetime.fromisoformat(DAY).strftime(form)


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def expected(env, template, context):
    try:
        return env.from_string(template).render(**context), None
    except RecursionError as e:
        return None, f"RecursionError: {e}"
    except Exception as e:  # whatever Python raises is an error of the template or of the data
        return None, f"{type(e).__name__}: {e}"


def found(program, folder, template, context):
    template_path, context_path = f"{folder}/t.jinja", f"{folder}/c.json"
    with open(template_path, "w", encoding="utf-8", newline="") as f:
        f.write(template)
    with open(context_path, "w", encoding="utf-8") as f:
        json.dump(context, f, ensure_ascii=False)
    done = subprocess.run(
        [program, "render", "--template", template_path, "--context", context_path, "--date", DAY], capture_output=True
    )
    if done.returncode == 0:
        return done.stdout.decode("utf-8"), None
    if done.returncode not in (1, 3):
        raise SystemExit(f"fmpipe render: exit code {done.returncode}: {done.stderr.decode()}")
    return None, done.stderr.decode("utf-8", "replace").strip()


# ---- what there is to render


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def walk(node, where):
    """Every (name, template, own context) in a JSON value."""
    if isinstance(node, dict):
        text = node.get("chat_template", node.get("template"))
        own = node.get("data", node.get("context"))
        if isinstance(text, str) and "{" in text:
            yield where, text, own if isinstance(own, dict) else None
        for key, value in node.items():
            yield from walk(value, f"{where}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from walk(value, f"{where}[{i}]")


def shared_files(shared):
    for folder, _, names in sorted(os.walk(f"{shared}/chat-templates")):
        for name in sorted(names):
            yield f"{folder}/{name}", os.path.relpath(f"{folder}/{name}", shared)


def shared_templates(shared):
    for path, name in shared_files(shared):
        if name.endswith(".jinja"):
            with open(path, encoding="utf-8", newline="") as f:
                yield name, f.read(), None
        elif name.endswith(".json"):
            yield from walk(load(path), name)
        elif name.endswith(".jsonl"):
            with open(path, encoding="utf-8") as f:
                for i, line in enumerate(f):
                    yield from walk(json.loads(line), f"{name}:{i + 1}")


def shared_contexts(shared):
    for path, name in shared_files(shared):
        if name.endswith(".json"):
            value = load(path)
            if isinstance(value, dict) and isinstance(value.get("messages"), list):
                yield name, value
    rows = f"{shared}/sgd/train.openai.jsonl"
    if os.path.exists(rows):
        with open(rows, encoding="utf-8") as f:
            for i, line in zip(range(6), f):
                row = json.loads(line)
                yield f"sgd row {i + 1}", row
                yield f"sgd row {i + 1} with values", with_values(row)


def with_values(row):
    row = json.loads(json.dumps(row))
    for message in row["messages"]:
        for call in message.get("tool_calls") or []:
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return row


def made_contexts():
    tools = [
        {
            "type": "function",
            "function": {
                "name": "set_light",
                "description": "Turns \"it\" on & off\n<b>é</b> 世界 </s>",
                "parameters": {
                    "type": "object",
                    "properties": {"room": {"type": "string"}, "level": {"type": ["integer", "null"], "enum": [1, 2.5, None]}},
                    "required": ["room"],
                },
            },
        }
    ]
    call = {
        "type": "function",
        "id": "abcdefghi",
        "function": {"name": "set_light", "arguments": {"room": "kit\"chen\u2028", "level": 3, "on": True, "x": [None, 1e22, -0.0]}},
    }
    talk = [
        {"role": "system", "content": "  Sei kurz. "},
        {"role": "user", "content": "Grüße <|im_end|> {{ x }}\n"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nJa.", "reasoning_content": "hm"},
        {"role": "user", "content": "Licht an"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abcdefghi", "name": "set_light", "content": "{\"ok\": true}"},
        {"role": "assistant", "content": "Erledigt."},
    ]
    parts = [{"role": "user", "content": [{"type": "text", "text": "Was ist das?"}, {"type": "image"}]}]
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    none = {"tools": None, "documents": None}
    yield "plain", {"messages": talk[1:3], **tokens, **none, "add_generation_prompt": False}
    yield "prompt", {"messages": talk[:2], **tokens, **none, "add_generation_prompt": True}
    yield "all", {"messages": talk, "tools": tools, "documents": None, **tokens, "add_generation_prompt": True}
    yield "all, nothing set", {"messages": talk, "tools": tools}
    yield "no system", {"messages": talk[1:], "tools": tools, **tokens}
    yield "absent content", {"messages": talk[1:4] + [{"role": "assistant", "tool_calls": [call]}], "tools": tools, **tokens}
    yield "null content", {"messages": talk[3:4] + [{**talk[4], "content": None}] + talk[5:], "tools": tools, **tokens}
    yield "two calls", {"messages": talk[3:4] + [{**talk[4], "tool_calls": [call, call]}, talk[5], talk[5], talk[6]], "tools": tools, **tokens}
    yield "parts", {"messages": parts, **tokens, **none, "add_generation_prompt": True}
    yield "thinking off", {"messages": talk, "tools": tools, "enable_thinking": False, "add_generation_prompt": True, **tokens}
    yield "unknown role", {"messages": [{"role": "robot", "content": "x"}], **tokens, **none}
    yield "two users", {"messages": [talk[1], talk[3]], **tokens, **none}
    yield "nothing", {"messages": [], **tokens, **none, "add_generation_prompt": True}
    yield "functions as text", {
        "messages": talk[:5], "functions": json.dumps(tools), "datetime": "26 July 2024", **tokens, "add_generation_prompt": True,
    }
    yield "functions as text, a talk", {"messages": talk[1:4], "functions": "[]", "datetime": "today", **tokens, "add_generation_prompt": True}
    yield "documents", {
        "messages": talk[:2],
        "documents": [{"title": "T", "text": "one\ntwo"}, {"title": "U", "text": "three"}],
        "tools": None,
        **tokens,
        "add_generation_prompt": True,
    }


# ---- random templates

CONTEXT = {
    "s": "  Hello, wörld -- x_y  ",
    "h": "well-known state-of-the-art foo--bar a-b x-ray <b>bold</b> &lt;i&gt; -- tail-",
    "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3, "kids": [{"v": 4, "kids": []}]}]}, {"v": 5, "kids": []}],
    "t": "line one\nline two\r\n\n<&'\">",
    "e": "",
    "n": 7,
    "m": -3,
    "f": 2.675,
    "l": [3, 1, 2],
    "w": ["banana", "Apple", "cherry", "apple"],
    "d": {"z": 1, "y": "two", "items": [9], "odd key": {"k": None}},
    "u": [{"name": "B", "age": 3, "ok": True}, {"name": "a", "age": 1}, {"name": "C", "age": 2, "ok": False}],
    "none_value": None,
    "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": " yo "}],
}
ANY_FILTERS = """default('q') default('q',true) d('z') string tojson tojson(indent=2) pprint safe""".split()
FILTERS = {
    "str": """capitalize center(20) count e escape first float forceescape indent indent(2,true) indent(width=3,first=true,blank=true)
int int(5) join join('-') last length list lower replace('l','L') replace('o','0',1) reverse striptags title trim trim('x_ ')
truncate(5) truncate(9,true,'..') truncate(9,leeway=0) truncate(1,false,'') truncate(4,true,'….',leeway=0) upper urlencode wordcount
wordwrap(5) wordwrap(1) wordwrap(7,false) wordwrap(6,true,'|') wordwrap(9,break_on_hyphens=false) wordwrap tojson(ensure_ascii=true)
replace(' ','-')|wordwrap(8) replace('l','<')|striptags replace('o','<b>')|striptags replace('e','&amp;')|striptags escape|striptags
batch(4)|list slice(3)|list unique|list map('upper')|list select('in','aeiou')|join sort|join reverse|upper""".split(),
    "list": """batch(2)|list batch(2,'x')|list count first join(', ') last length list map('string')|list max min reverse|list
slice(2)|list slice(2,'x')|list slice(5)|list slice(4,none)|list urlencode pprint sort sort(reverse=true) unique|list select|list reject|list select('string')|list reject('none')|list
tojson(separators=(',',':')) map('length')|list map('upper')|join sort(case_sensitive=true) unique(case_sensitive=true)|list
sum min(case_sensitive=true) reject('odd')|list map('default','z')|list select('defined')|list""".split(),
    "rows": """groupby('age')|list groupby('ok',default='q')|list groupby('name')|list groupby('name',case_sensitive=true)|list groupby('age')|map('first')|list
groupby('age')|map(attribute='list')|list groupby('age')|map(attribute='grouper')|list groupby('name')|tojson pprint items|list join('-',attribute='name') map(attribute='name')|list rejectattr('ok')|list
selectattr('ok')|list selectattr('age','gt',1)|list sort(attribute='age') sort(attribute='name,age') sum(attribute='age')
max(attribute='age') map(attribute='ok',default=0)|list selectattr('name','equalto','a')|list selectattr('ok','defined')|list
tojson(sort_keys=true) unique(attribute='name')|list sum(attribute='age',start=10) length""".split(),
    "dict": """dictsort dictsort(by='value') dictsort(true) dictsort(reverse=true) items|list length list tojson(sort_keys=true) tojson(indent=4)
first xmlattr xmlattr(false) urlencode pprint""".split(),
    "num": """abs filesizeformat float int round round(1) round(1,'floor') round(2,'ceil') filesizeformat(true) string|length""".split(),
}
METHODS = {
    "str": """strip() upper() lower() title() capitalize() split() split(',') split('l',1) rsplit('l',1) splitlines() replace('l','_')
startswith('  H') startswith(('x','  ')) endswith(' ') find('l') rfind('l') count('l') lstrip() rstrip() rstrip(' _y') swapcase()
casefold() isdigit() isalpha() isspace() isupper() islower() removeprefix('  ') removesuffix('  ') partition('l') rpartition('l')
center(30,'*') ljust(30) rjust(30) zfill(30) join(['a','b']) format(1) isalnum() split('l')[0] split('l')[-1] strip()[2:] find('q')
split(none,1) replace('l','LL',2)""".split(),
    "list": "index(1) count(1) copy()".split(),
    "dict": "items()|list keys()|list values()|list get('y') get('q','d') get('q') copy()".split(),
}
TESTS = """boolean defined divisibleby(2) eq(7) even false float ge(2) gt(2) in([1,7,'a']) integer iterable le(3) lower lt(3) mapping
ne(1) none number odd sameas(none) sequence string true undefined upper callable""".split()
NAMES = {
    "str": ["h", "'%s-%r'|format(s, w)", "'%05.2f|%d|%x|%+d|%e|%g|%10s|%-4s|'|format(f, n, 255, n, f, f, e, n)", "'{:>6}|{:<4}|{:^7}|{:05d}|{:.1f}'.format(n, 'a', 'b', 42, f)",
            "'{0}{1}{0}'.format(n, s)", "'{a}-{b!r}'.format(a=1, b='x')", "'ab' * 3", "'\\u00e9\\t\\x41'", "'%s' % n", "'%s %s' % (n, f)", "n ~ f ~ none ~ true", "s[-3:]", "s[::2]", "s[5:1:-1]", "s[100:]", "s", "t", "e", "d.y", "u[-1].name", "s[2:7]", "s[::-1]", "messages[1].content", "w[0]", "'x'", '"y\\n"', "s ~ n", "(s + t)"],
    "list": ["l", "w", "l[1:]", "w[::2]", "d['items']", "[]", "[1, 'a', none]", "(1, 2)", "range(4)|list", "(l + [5])", "w|list"],
    "rows": ["u", "u[1:]", "messages", "u|list"],
    "dict": ["d", "u[0]", "messages[0]", "{}", "{'a': 1, 'b': [2]}", "dict(x=1, y='z')"],
    "num": ["n", "m", "f", "1", "0", "2.5", "l[0]", "n // 2", "n % 4", "m // 2", "m % 4", "-7 // 2.0", "-7 % 2.5", "7 // -2", "2 ** -1", "2 ** 0.5", "1e3", "1e16", "1e-5", "123456789 * 1000", "0.1 + 0.2", "1 / 3", "5 / 5", "-0.0", "f // 1",
            "n * f", "(n + 1) * 2 - 3", "2 + 3 * 4 ** 2", "-2 ** 2", "not n", "n - -m", "+m", "100000.0 * 1e12", "n if n > 3 else m", "true + 1", "s|length", "l|sum / 2", "-n ** 2", "f * 2", "10**3", "1_000", "n - 0.5", "7 / 2"],
    "any": ["missing", "d.nope", "u[9]", "none", "true", "none_value", "d['odd key']", "n in l", "'z' in d", "n not in [7]", "1 < 2 < 3 == 3", "1 < 2 > 3", "s is string and n is number", "not n == 7", "not (n == 7)", "n == 7.0", "'a' < 'b'",
            "[1, 2] < [1, 3]", "none == none", "x is defined or n", "n and s or e", "(n > 3) ~ ''", "[] or {} or 'z'", "'q' if missing", "missing is undefined", "d.items is defined", "u[0].name ~ u[0]['age']", "not s", "n == 7", "1 < n <= 7", "'l' in s"],
}
PAIRS = {"str": ["~", "+", "==", "!=", "<", "in", "and", "or"], "list": ["+", "==", "and", "or"], "num": ["+", "-", "*", "/", "//", "%", "<", ">=", "==", "~"]}


def expression(rng, depth, kind=None):
    """Mostly of fitting types: an expression that fails shows little."""
    kind = kind or rng.choice(list(NAMES))
    if rng.randrange(40) == 0:
        kind = rng.choice(list(NAMES))
    what = rng.randrange(8) if depth > 0 else 0
    if what in (1, 2):
        return f"({expression(rng, depth - 1, kind)})|{rng.choice(FILTERS.get(kind, ANY_FILTERS))}"
    if what == 3 and kind in METHODS:
        return f"({expression(rng, depth - 1, kind)}).{rng.choice(METHODS[kind])}"
    if what == 4:
        return f"({expression(rng, depth - 1)} is {rng.choice(['', 'not '])}{rng.choice(TESTS)})"
    if what == 5 and kind in PAIRS:
        return f"({expression(rng, 0, kind)} {rng.choice(PAIRS[kind])} {expression(rng, 0, kind)})"
    if what == 6:
        return f"({expression(rng, depth - 1, kind)} if {expression(rng, 0)} else {expression(rng, depth - 1)})"
    if what == 7:
        return f"({expression(rng, depth - 1)})|{rng.choice(ANY_FILTERS)}"
    return rng.choice(NAMES[kind])


def statement(rng, depth):
    kind = rng.randrange(16) if depth > 0 else 0
    a, b = rng.choice(["", "-", ""]), rng.choice(["", "-", ""])
    body = "".join(statement(rng, depth - 1) for _ in range(rng.randrange(1, 3))) if depth > 0 else ""
    e = expression(rng, 1)
    if kind == 1:
        return f"  {{%{a} if {e} {b}%}}\n {body} {{%{a} else {b}%}}\nE {{% endif {b}%}} \n"
    if kind == 2:
        return f"{{%{a} for x in {e} {b}%}} {{{{ loop.index }}}}{{{{ x }}}}{body}{{%{a} else %}}none{{% endfor {b}%}}\n"
    if kind == 3:
        return f" {{%{a} set v = {e} {b}%}} \n{{{{ v }}}}"
    if kind == 4:
        return f"{{% set v %}} {body} {{%{a} endset {b}%}}\n[{{{{ v|trim }}}}]"
    if kind == 5:
        return f"{{%{a} macro g(a, b={e}) {b}%}}<{{{{ a }}}}|{{{{ b }}}}>{{% endmacro %}}{{{{ g(1) }}}}{{{{ g(b=2, a={expression(rng, 0)}) }}}}"
    if kind == 6:
        return f"{{%{a} with v = {e} {b}%}}{body}{{{{ v }}}}{{% endwith %}}"
    if kind == 7:
        name = rng.choice(["upper", "trim", "indent(2)", "replace('l', 'L')", "title"])
        return f"{{% filter {name} {b}%}}{body}{{% endfilter %}}"
    if kind == 8:
        t = rng.choice(["loop.first", "loop.last", "loop.index0", "loop.revindex", "loop.revindex0", "loop.length", "loop.previtem", "loop.nextitem", "loop.depth",
                        "loop.cycle('a', 'b')", "loop.changed(x)", "not loop.first"])
        stop = rng.choice(["", "{% if loop.index == 2 %}{% break %}{% endif %}", "{% if loop.first %}{% continue %}{% endif %}"])
        only = rng.choice(["", " if x", " if x is string", " if not loop"])
        return f"{{%{a} for x in {e}{only} {b}%}}\n{stop}[{{{{ {t} }}}}]{body}{{%{a} else {b}%}}-{{%{a} endfor %}}"
    if kind == 9:
        return (f"{{%{a} for node in tree recursive {b}%}}{{{{ node.v }}}}@{{{{ loop.depth }}}}"
                f"{{% if node.kids %}}({{{{ loop(node.kids) }}}}){{% endif {b}%}}{{%{a} else %}}empty{{% endfor %}}")
    if kind == 10:
        return (f"{{% macro outer(a, b='d') {b}%}}<{{{{ caller({expression(rng, 0)}) if caller else 'none' }}}}{{{{ varargs }}}}{{{{ kwargs }}}}{{{{ b }}}}>{{% endmacro %}}"
                f"{{%{a} call(v) outer({expression(rng, 0)}, {expression(rng, 0)}) {b}%}} {{{{ v }}}}{body}{{% endcall %}}{{{{ outer.name }}}}{{{{ outer.arguments }}}}")
    if kind == 11:
        return (f"{{% set ns = namespace(i=0, s={expression(rng, 0)}) {b}%}}{{% for x in {e} %}}{{% set ns.i = ns.i + 1 %}}{{% set ns.s = x %}}{{% set lost = x %}}{{%{a} endfor %}}"
                "{{ ns.i }}{{ ns.s }}{{ lost is defined }}")
    if kind == 12:
        plus = rng.choice(["+", ""])
        return f"  {{%{plus} if true {rng.choice(['+', '-', ''])}%}}\n\n  x {{#{a} c {b}#}}\n {{%{plus} endif {b}%}}\n\t{{{{-{e}-}}}}\n"
    if kind == 13:
        return f"{{% raw {b}%}} {{{{ {e} }}}} {{% x %}} {{%{a} endraw {b}%}}\n{{% set a, b = 1, {expression(rng, 0)} %}}{{{{ b }}}}{{{{ a }}}}"
    if kind == 14:
        return f"{{% for k, v in d.items() %}}{{{{ k }}}}={{{{ v }}}};{{% endfor %}}{{% for g, rows in u|groupby('age') %}}{{{{ g }}}}:{{{{ rows|map(attribute='name')|join('+') }}}} {{% endfor {b}%}}{body}"
    if kind == 15:
        return f"{{%{a} set v {b}%}}{body}{{% endset %}}{{{{ v|length }}}}{{% set w2 | upper {b}%}}{body}{{% endset %}}{{{{ w2 }}}}"
    return f"  text {{{{{a} {expression(rng, 2)} {b}}}}} {{#{a} note {b}#}} more\n"


def random_cases(n, seed=20):
    rng = random.Random(seed)
    for i in range(n):
        yield f"random {i}", "".join(statement(rng, 2) for _ in range(rng.randrange(1, 4)))


# ---- comparison


class Tally:
    def __init__(self, program):
        self.program, self.env, self.tmp = program, environment(), tempfile.mkdtemp()
        self.n = self.errors = self.unsupported = self.different = 0
        self.reasons = []

    def compare(self, template, context, what, lenient=False):
        want, why = expected(self.env, template, context)
        got, message = found(self.program, self.tmp, template, context)
        self.n += 1
        self.errors += want is None and got is None
        if want == got:
            return True
        address = want is not None and re.search(r" at 0x[0-9a-f]+>", want)  # a method or a generator, printed
        if lenient and got is None and ("unsupported" in message or address):
            self.unsupported += 1
            self.reasons.append(message.split("error: ")[-1].split("\n")[0].split(";")[0])
            return False
        self.different += 1
        print(f"-- {what}\n   template {template!r}"[:600] if lenient else f"-- {what}")
        print(f"   jinja2 {excerpt(want, got) if want is not None else why}")
        print(f"   fmpipe {excerpt(got, want) if got is not None else message}")
        return False

    def facts(self, template):
        """What fmpipe finds out about a template when it opens it."""
        with open(f"{self.tmp}/t.jinja", "w", encoding="utf-8", newline="") as f:
            f.write(template)
        done = subprocess.run([self.program, "render", "--template", f"{self.tmp}/t.jinja", "--facts", "--json"], capture_output=True)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def line(self, what):
        print(f"{what}: {self.n} renderings, {self.errors} of them errors on both sides, {self.unsupported} refused as unsupported, "
              f"{self.different} different")
        for reason in sorted(set(self.reasons)):
            print(f"   {self.reasons.count(reason)} x {reason}")


def excerpt(text, other):
    at = 0
    while other and at < min(len(text), len(other)) and text[at] == other[at]:
        at += 1
    return f"…{text[max(0, at - 30):at + 60]!r} at {at}"


# ---- the page of the reference

PAGE = """# Chat templates: how each real one does

Written by `tests/parity/template_parity.py --table`, which renders each template with every conversation at hand, by fmpipe and by
Python's jinja2: *equal* counts renderings with the same bytes (or an error on both sides, in brackets: the template refuses that
conversation). The other columns are what fmpipe finds out when it opens the template; see [Chat templates](../explanation/chat-templates.md).

| template | equal | tools | arguments | calls | ends turns, calls | rewrites the past |
|---|---|---|---|---|---|---|
"""


def yes(value):
    return "yes" if value else "no"


def page_row(name, equal, n, refused, facts):
    return (f"| {name} | {equal} of {n} ({refused}) | {yes(facts.get('tools'))} | {facts.get('arguments', '?')} | {facts.get('calls', '?')} "
            f"| {yes(facts.get('ends_turn'))}, {yes(facts.get('ends_calls'))} | {yes(facts.get('rewrites_past'))} |\n")


def page_name(name):
    return os.path.splitext(os.path.basename(name.replace(".json.", "/").replace(".json:", "/")))[0]


def check_page(path, text, write):
    if write:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    with open(path, encoding="utf-8") as f:
        if f.read() == text:
            return True
    print(f"{path} does not say what this run found: run with --write")
    return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fmpipe")
    parser.add_argument("shared")
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--table")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    tally = Tally(given.fmpipe)
    contexts = list(shared_contexts(given.shared)) + list(made_contexts())
    templates = list(shared_templates(given.shared))
    page = PAGE
    for name, template, own in templates:
        n, errors, equal = tally.n, tally.errors, 0
        for context_name, context in [("its own context", own)] if own else contexts:
            equal += tally.compare(template, context, f"{name} x {context_name}")
        page += page_row(page_name(name), equal, tally.n - n, tally.errors - errors, tally.facts(template))
    tally.line(f"{len(templates)} templates, {len(contexts)} contexts")
    drawn = Tally(given.fmpipe)
    for name, template in random_cases(given.random):
        drawn.compare(template, CONTEXT, name, lenient=True)
    drawn.line("random templates")
    same_page = not given.table or check_page(given.table, page, given.write)
    return 1 if tally.different or drawn.different or not same_page else 0


if __name__ == "__main__":
    sys.exit(main())
