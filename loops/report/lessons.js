// The lesson browser: a list of all rows of which only those in sight are drawn, filters, and the chain of the chosen one.
((T) => {
  "use strict";
  const { el } = T;
  const HEIGHT = 58; // pixels of a row; page_lessons.css has the same
  const BEYOND = 6; // rows drawn above and below what is in sight
  const WAIT = 120; // milliseconds after the last key before the list is searched
  const kept = { text: "", skill: "", round: "", standing: "", reason: "", chosen: "" };
  const FILTERS = ["text", "skill", "round", "standing", "reason"];
  let index = null;
  let rows = [];
  let order = []; // numbers of the rows as the list has them: the oldest round first
  let found = []; // numbers of the rows that the filters pass
  let haystack = null; // a promise of each row's whole text in lower case
  let blocks = new Map();
  let turn = 0; // of the search: an older one that comes late is not shown

  const part = (name) => document.getElementById(`lesson-${name}`);
  const block = (number) => {
    if (!blocks.has(number)) {
      if (blocks.size > 8) {
        blocks.delete(blocks.keys().next().value);
      }
      blocks.set(number, T.unpack(`chains-${number}`));
    }
    return blocks.get(number);
  };

  const unfolded = (data) => data.rows.id.map((id, n) => ({
    id,
    n,
    round: data.rows.round[n],
    standing: data.standings[data.rows.standing[n]],
    skill: data.skills[data.rows.skill[n]],
    reason: data.reasons[data.rows.reason[n]],
    title: data.rows.title[n],
  }));

  // Every text of every chain, read once when somebody first searches.
  const texts = async () => {
    const all = [];
    const words = (value) => (typeof value === "string" ? value : value && typeof value === "object" ? Object.values(value).map(words).join("\n") : "");
    for (let number = 0; number * index.block < rows.length; number += 1) {
      const chains = await T.unpack(`chains-${number}`);
      chains.forEach((chain) => all.push(words(chain).toLowerCase()));
    }
    return all;
  };

  const plain = (row) => `${row.id} ${row.title} ${row.skill} ${row.reason}`.toLowerCase();
  const fits = (row) => (!kept.skill || row.skill === kept.skill.slice(1)) && (!kept.round || String(row.round) === kept.round)
    && (!kept.standing || row.standing === kept.standing) && (!kept.reason || row.reason === kept.reason);

  const drawn = (row, place) => {
    const line = el("div", { id: `row-${row.n}`, role: "option", class: "row", "aria-selected": row.id === kept.chosen ? "true" : "false",
      "aria-posinset": place + 1, "aria-setsize": found.length },
      el("span", { class: "title" }, el("bdi", null, row.title)),
      el("span", { class: "under" }, el("i", { class: `dot ${row.standing.split(",")[0]}` }), row.standing, ` · round ${row.round} · `,
        el("bdi", null, row.reason || row.skill || "no one skill")));
    line.style.top = `${place * HEIGHT}px`;
    return line;
  };

  const draw = () => {
    const view = part("list");
    const first = Math.max(0, Math.floor(view.scrollTop / HEIGHT) - BEYOND);
    const last = Math.min(found.length, Math.ceil((view.scrollTop + view.clientHeight) / HEIGHT) + BEYOND);
    part("rows").replaceChildren(...found.slice(first, last).map((number, at) => drawn(rows[number], first + at)));
  };

  const listed = (numbers, told) => {
    found = numbers;
    part("rows").style.height = `${found.length * HEIGHT}px`;
    part("count").textContent = `${T.count(found.length)} of ${T.count(rows.length)}${told}`;
    if (part("list").scrollTop > found.length * HEIGHT) {
      part("list").scrollTop = 0;
    }
    draw();
  };

  const search = async () => {
    const mine = (turn += 1);
    const wanted = kept.text.trim().toLowerCase();
    const some = order.map((number) => rows[number]).filter(fits);
    const quick = some.filter((row) => !wanted || plain(row).includes(wanted));
    listed(quick.map((row) => row.n), wanted ? "; reading all texts …" : "");
    if (wanted) {
      haystack = haystack || texts();
      const all = await haystack;
      if (mine === turn) {
        listed(some.filter((row) => plain(row).includes(wanted) || all[row.n].includes(wanted)).map((row) => row.n), "");
      }
    }
    part("count").dataset.search = String(mine); // for who waits until it is done
  };

  const choose = async (number, show) => {
    const row = rows[number];
    kept.chosen = row.id;
    part("list").setAttribute("aria-activedescendant", `row-${number}`);
    draw();
    const chains = await block(Math.floor(number / index.block));
    if (kept.chosen === row.id) {
      part("detail").replaceChildren(T.chain(row, chains[number % index.block], index));
      part("detail").dataset.shows = row.id;
      part("detail").scrollTop = 0;
      if (show) {
        part("detail").scrollIntoView({ block: "nearest" });
      }
    }
  };

  const reveal = (place) => {
    const view = part("list");
    if (place * HEIGHT < view.scrollTop) {
      view.scrollTop = place * HEIGHT;
    } else if ((place + 1) * HEIGHT > view.scrollTop + view.clientHeight) {
      view.scrollTop = (place + 1) * HEIGHT - view.clientHeight;
    }
  };

  const keys = (event) => {
    const page = Math.max(1, Math.floor(part("list").clientHeight / HEIGHT) - 1);
    const at = found.findIndex((number) => rows[number].id === kept.chosen);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: found.length - 1 }[event.key];
    if (to !== undefined && found.length) {
      event.preventDefault();
      const place = Math.min(found.length - 1, Math.max(0, to));
      reveal(place);
      choose(found[place], false);
    } else if (event.key === "Enter") {
      part("detail").focus();
      part("detail").scrollIntoView({ block: "nearest" });
    }
  };

  const fill = (name, values, label) => {
    const options = values.map(([value, text]) => el("option", { value }, text.length > 70 ? `${text.slice(0, 69)}…` : text));
    part(name).replaceChildren(el("option", { value: "" }, label), ...options);
  };

  const jump = () => {
    const wanted = /^#lesson=([0-9a-f]{4,16})$/.exec(location.hash);
    const number = wanted ? rows.findIndex((row) => row.id.startsWith(wanted[1])) : -1;
    if (number >= 0) {
      FILTERS.forEach((name) => { kept[name] = ""; part(name).value = ""; });
      search();
      reveal(order.indexOf(number));
      choose(number, true);
    }
    return number >= 0;
  };

  const listen = () => {
    let wait = 0;
    FILTERS.forEach((name) => part(name).addEventListener("input", (event) => {
      kept[name] = event.target.value;
      clearTimeout(wait);
      wait = setTimeout(search, name === "text" ? WAIT : 0);
    }));
    part("list").addEventListener("scroll", draw, { passive: true });
    part("list").addEventListener("keydown", keys);
    part("rows").addEventListener("click", (event) => {
      const line = event.target.closest(".row");
      if (line) {
        choose(Number(line.id.slice(4)), innerWidth < 860);
      }
    });
    new ResizeObserver(draw).observe(part("list"));
  };
  addEventListener("hashchange", () => index && jump());

  T.parts.push(async () => {
    if (!document.getElementById("lessons-index")) {
      return;
    }
    index = await T.unpack("lessons-index");
    rows = unfolded(index);
    haystack = null;
    blocks = new Map();
    order = rows.map((row) => row.n).sort((a, b) => rows[a].round - rows[b].round || a - b);
    const skills = [...new Set(rows.map((row) => row.skill))].sort();
    fill("skill", skills.map((name) => [`=${name}`, name || "no one skill"]), "every skill");
    fill("round", [...new Set(rows.map((row) => row.round))].sort((a, b) => a - b).map((n) => [String(n), `round ${n}`]), "every round");
    fill("standing", index.standings.filter((name) => rows.some((row) => row.standing === name)).map((name) => [name, name]), "every status");
    fill("reason", index.reasons.filter(Boolean).sort().map((name) => [name, name]), "dropped or not");
    FILTERS.forEach((name) => { part(name).value = kept[name]; });
    if (!part("list").dataset.listens) {
      part("list").dataset.listens = "yes";
      listen();
    }
    const scrolled = part("list").scrollTop; // the search may draw a shorter list for a moment
    await search();
    part("list").scrollTop = scrolled;
    performance.mark("tutelage:lessons");
    const before = kept.chosen ? rows.findIndex((row) => row.id === kept.chosen) : -1;
    if (before >= 0) {
      await choose(before, false);
    } else if (!jump() && rows.length && innerWidth >= 860) {
      await choose(order[0], false);
    }
  });
})(window.Tutelage);
