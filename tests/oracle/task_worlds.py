"""Scenarios with tasks: steps by hand, one in which everything happens that can happen to a task, and any graphs."""

from __future__ import annotations

from hypothesis import strategies as st

from inferencesim.results.task_constraints import check_tasks
from inferencesim.results.tasks import task_conservation
from oracle.small import chip, model, pool, scenario, work

#: Two small tools: few enough cores that tools wait.
TOOLS = [
    {"name": "boxes", "hardware": chip("small-cpu"), "nodes": 1, "cores": 3},
    {"name": "search", "hardware": chip("small-cpu"), "nodes": 2, "cores": 1},
]


def called(name="c", **said):
    return work(name, prompt=20, output=5, **said) | {"arrivals": {"process": "tasks"}}


def tasks(steps, rate=10.0, name="t", **said):
    return {"name": name, "arrivals": {"process": "poisson", "rate": rate}, "steps": steps, **said}


#: Good answers of the first model up to a difficulty of a half, of the second always.
SHARP = {"slope": 1e-3, "ceiling": 1.0}
CURVES = {"small-model": {"ability": 0.5, **SHARP}, "windowed-model": {"ability": 0.8, **SHARP}}
API = {
    "name": "api",
    "model": model(),
    "price": {"input": "$1/Mtok", "output": "$4/Mtok"},
    "limits": {"requests_per_minute": 120},
}


def mixed(**said):
    """Express lane and freight in small: agents with tools and branches, questions of every difficulty, and chat."""
    agent = {
        "name": "agent",
        "arrivals": {"process": "poisson", "rate": 6.0},
        "promise": {"latency": "1s"},
        "timeout": "3s",
        "steps": [
            {"call": "guard", "context": "fresh"},
            {
                "repeat": {
                    "times": {"distribution": "uniform", "low": 1, "high": 12},
                    "steps": [
                        {"call": "research"},
                        {"tool": "boxes", "time": {"distribution": "uniform", "low": 0, "high": 0.15}, "adds": 10},
                    ],
                }
            },
            {"fan_out": {"width": 3, "join": 2, "steps": [{"call": "research"}]}},
            {"wait": 0.1},
        ],
    }
    answers = {
        "difficulty": {"distribution": "uniform", "low": 0.0, "high": 1.0},
        "start": "first",
        "noticed": 0.9,
        "check": 0.05,
        "retries": 1,
        "person": {"price": "$4", "time": "1s"},
        "curves": CURVES,
    }
    return scenario(
        [
            pool("fast", prefix_cache=True, queue_limit=4, batching={"max_sequences": 4, "block_size": 4}),
            pool("next", serves="windowed-model"),
            pool("eu", site="eu-frankfurt"),
        ],
        [
            called("guard"),
            called("research", retry={"attempts": 2, "back_off": "20ms"}, providers="refused", residency=["us"]),
            work("support", rate=8.0, models=("small-model", "windowed-model"), answers=answers),
            work("chat", rate=150.0, residency=["us"], promise={"ttft": 0.05}),
        ],
        **{
            "horizon": 3.0,
            "drain": 1.0,
            "tasks": [agent],
            "tools": [{"name": "boxes", "hardware": chip("small-cpu"), "nodes": 1, "cores": 2}],
            "providers": [API],
            "recording": {"predictions": True},
            "routing": {"placement": "random"},
            **said,
        },
    )


CHANCE = st.sampled_from([1.0, 1.0, 0.5])
SHORT = st.sampled_from([0.0, 0.02, 0.3, {"distribution": "uniform", "low": 0.0, "high": 0.4}])
COUNT = st.sampled_from([1, 2, {"distribution": "uniform", "low": 1, "high": 3}])
CALLS = st.fixed_dictionaries(
    {"call": st.sampled_from(["c", "d"]), "chance": CHANCE}, optional={"context": st.just("fresh")}
)
TOOL_STEPS = st.fixed_dictionaries(
    {"tool": st.sampled_from(["boxes", "search"]), "time": SHORT, "cores": st.integers(1, 2), "chance": CHANCE}
)
WAITS = st.fixed_dictionaries({"wait": SHORT})


def nested(inner):
    """Return loops and fans over what is inside."""
    steps = st.lists(inner, min_size=1, max_size=3)
    loops = st.builds(lambda times, steps: {"repeat": {"times": times, "steps": steps}}, COUNT, steps)
    fans = st.builds(
        lambda width, join, context, steps, chance: {
            "fan_out": {
                "width": width,
                "join": 1 if (width, join) == (1, 2) else join,
                "context": context,
                "steps": steps,
            },
            "chance": chance,
        },
        COUNT,
        st.sampled_from(["all", "all", 1, 2]),
        st.sampled_from(["shared", "fresh"]),
        steps,
        CHANCE,
    )
    return loops | fans


STEP = st.recursive(CALLS | TOOL_STEPS | WAITS, nested, max_leaves=6)


def most_steps(steps):
    """Return the steps of a task at most, each as often as it may be taken; the twin's time grows with its square."""
    total = 0
    for step in steps:
        of = step.get("repeat") or step.get("fan_out") or {"steps": ()}
        times = of.get("times") or of.get("width") or 1
        total += 1 + (times if isinstance(times, int) else times["high"]) * most_steps(of["steps"])
    return total


STEPS = st.lists(STEP, min_size=1, max_size=3).filter(lambda steps: most_steps(steps) <= 100)


FAILURES = st.lists(
    st.sampled_from(
        [
            {"replica": "p", "mtbf": 0.2, "mttr": 0.07},
            {"pool": "p", "at": 0.3, "for": 0.2},
            {"slow": "p", "factor": 2.5, "at": 0.1, "for": 0.6},
            {"tool": "boxes", "share": 0.3, "timeout": 0.11, "retries": 1},
            {"slow": "p", "factor": 1.5, "mtbf": 0.3, "mttr": 0.2},
            {"replica": "p", "at": 0.2, "for": 0.1},
            {"tool": "search", "share": 0.9, "timeout": 0.07, "retries": 2, "at": 0.1, "for": 0.4},
        ]
    ),
    max_size=3,
    unique_by=str,
)


PEOPLE = st.sampled_from([{}, {"person": {"price": "$4", "time": 0.1}}])
ANSWERS = st.builds(
    lambda retries, noticed, person: {
        "difficulty": {"distribution": "uniform", "low": 0.0, "high": 1.0},
        "noticed": noticed,
        "check": 0.01,
        "retries": retries,
        **person,
    },
    st.integers(0, 2),
    st.sampled_from([1.0, 0.5]),
    PEOPLE,
)


@st.composite
def worlds(draw, followed_up=False):
    """Draw a scenario of any graphs, in which things fail; `followed_up`, also with answers that are bad."""
    steps = draw(STEPS)
    described = tasks([{"call": "c"}, *steps, {"call": "d"}], rate=draw(st.sampled_from([2.0, 15.0])))
    if draw(st.booleans()):
        described["timeout"] = draw(st.sampled_from([0.05, 0.5]))
    batching = {"max_sequences": draw(st.sampled_from([2, 32])), "block_size": 4}
    pools = [
        pool(
            batching=batching,
            kv_blocks=60,
            prefix_cache=draw(st.booleans()),
            queue_limit=draw(st.sampled_from([None, 1])),
        )
    ]
    workload = [called("c"), called("d", timeout=draw(st.sampled_from([None, 0.03]))), work("alone", rate=20.0)]
    for each in workload:
        if draw(st.booleans()):
            each["retry"] = {"attempts": draw(st.integers(1, 3)), "back_off": 0.0173}
        if each.get("timeout", 1) is None:
            del each["timeout"]
    if followed_up:
        workload[1] |= {"answers": draw(ANSWERS)}
        workload[2] |= {"answers": draw(ANSWERS)}
    if pools[0]["queue_limit"] is None:
        del pools[0]["queue_limit"]
    return scenario(
        pools, workload, horizon=1.0, drain=draw(st.sampled_from([60.0, 0.2])), tasks=[described], tools=TOOLS,
        seed=draw(st.integers(0, 99)), failures=draw(FAILURES),
    )  # fmt: skip


def proven(done):
    """Tell whether an audit proves all it can of the tasks of a finished run; it is true of any."""
    conservation = task_conservation(done.result.tasks, done.result.end.tasks_begun)
    tables = {name: done.frame(name) for name in ("tasks", "steps", "requests")}
    found = check_tasks(done.plan, tables, done.result.end.at_s, conservation)
    # When runs of tools that were lost began is not recorded, hence neither what they held beside others.
    excused = {"tool_cores"} if tables["steps"]["lost_runs"].any() else set()
    assert [each for each in found if each.state != "proven" and each.name not in excused] == []
    assert not any(each.state == "broken" for each in found)
    return len(found) > 0
