"""The reactive core and the element builder, in a browser."""

from __future__ import annotations

from typing import Any

from servers import eventually


async def check(lab: Any, code: str) -> Any:
    return await lab.inside(f"""await (async () => {{
        const {{ signal, computed, effect, batch, untracked, scope, onDispose, h, s, each }} = m;
        {code}
    }})()""")  # fmt: skip


async def test_an_effect_runs_once_per_batch_and_never_sees_half_of_it(lab: Any) -> None:
    seen = await check(lab, """
        const a = signal(1), b = signal(2), sum = computed(() => a.value + b.value), seen = [];
        effect(() => { seen.push([a.value, sum.value]) });
        a.value = 5;
        batch(() => { a.value = 1; b.value = 1; });
        return seen;""")  # fmt: skip
    assert seen == [[1, 3], [5, 7], [1, 2]]


async def test_a_computed_value_that_does_not_change_triggers_no_effect(lab: Any) -> None:
    runs = await check(lab, """
        const n = signal(1), isOdd = computed(() => n.value % 2 === 1); let runs = 0;
        effect(() => { isOdd.value; runs++ });
        n.value = 3; n.value = 5; n.value = 6;
        return runs;""")  # fmt: skip
    assert runs == 2


async def test_effects_created_in_an_effect_are_disposed_of_with_it(lab: Any) -> None:
    log = await check(lab, """
        const on = signal(true), n = signal(0), log = [];
        const stop = effect(() => {
            if (!on.value) return;
            onDispose(() => log.push('gone'));
            effect(() => { log.push(n.value); return () => log.push('cleaned') });
        });
        n.value = 1; on.value = false; n.value = 2; stop(); on.value = true;
        return [log, n.readers.size, on.readers.size];""")  # fmt: skip
    assert log == [[0, "cleaned", 1, "gone", "cleaned"], 0, 0]


async def test_an_effect_that_raises_does_not_stop_the_others(open_page: Any, day: str) -> None:
    window = await open_page(day, "/alerts", allowed=("on purpose",))
    runs = await window.inside("""(() => {
        const n = m.signal(0); let runs = 0;
        m.effect(() => { if (n.value > 0) throw new Error('on purpose') });
        m.effect(() => { n.value; runs++ });
        n.value = 1;
        return runs;
    })()""")  # fmt: skip
    assert runs == 2
    await eventually(lambda: window.errors)
    assert "on purpose" in window.errors[0]


async def test_rows_of_a_list_are_moved_not_rebuilt(lab: Any) -> None:
    told = await check(lab, """
        const keys = signal(['x', 'y', 'z']); let made = 0, ended = 0;
        const list = h('ul');
        document.body.append(list);
        each(list, () => keys.value, (key) => { made++; onDispose(() => ended++); return h('li', null, h('button', null, key)) });
        const last = list.lastChild;
        last.firstChild.focus();
        keys.value = ['z', 'w', 'x'];
        const order = [...list.children].map((row) => row.textContent);
        return { order, kept: list.firstChild === last, focused: document.activeElement === last.firstChild, made, ended };""")  # fmt: skip
    assert told == {"order": ["z", "w", "x"], "kept": True, "focused": True, "made": 4, "ended": 1}


async def test_the_focus_is_restored_in_browsers_without_atomic_moves(lab: Any) -> None:
    focused = await check(lab, """
        const keys = signal(['x', 'y']), list = h('ul');
        list.moveBefore = undefined;
        document.body.append(list);
        each(list, () => keys.value, (key) => h('li', null, h('button', null, key)));
        list.lastChild.firstChild.focus();
        keys.value = ['y', 'x'];
        return document.activeElement.textContent;""")  # fmt: skip
    assert focused == "y"


async def test_text_is_never_parsed_as_html(lab: Any) -> None:
    told = await check(lab, """
        const text = signal('<img src=x onerror=alert(1)>'), line = h('p', { title: () => text.value }, () => text.value, [null, false, 0]);
        return [line.childElementCount, line.textContent, line.title];""")  # fmt: skip
    assert told == [0, "<img src=x onerror=alert(1)>0", "<img src=x onerror=alert(1)>"]


async def test_a_changing_text_keeps_its_node_and_a_changing_element_its_position(lab: Any) -> None:
    told = await check(lab, """
        const n = signal(1), line = h('p', null, 'a', () => n.value, 'b', () => n.value > 1 && h('b', null, 'more'));
        const node = line.childNodes[1];
        n.value = 2;
        return [line.textContent, line.contains(node), node.data];""")  # fmt: skip
    assert told == ["a2bmore", True, "2"]
