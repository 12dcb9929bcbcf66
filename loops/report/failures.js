// The failures behind a cell: a dialog that any heat map cell and any figure of the skills' table opens.
((T) => {
  "use strict";
  const { el } = T;
  const KINDS = {
    exam: "wrong in the exam",
    train: "lacked when the round began",
    lost: "right before, wrong now",
    gained: "wrong before, right now",
  };
  const SHOWN = 10;
  const blocks = new Map();
  let counts = {};
  let at = null;

  const block = (round) => {
    const id = `failures-${round}`;
    if (!blocks.has(id)) {
      blocks.set(id, document.getElementById(id) ? T.unpack(id) : Promise.resolve({ attempts: [], cells: {} }));
    }
    return blocks.get(id);
  };

  const option = (value, text, chosen) => el("option", { value, selected: String(value) === String(chosen) }, text);
  const when = (round) => (Number(round) === 0 ? "start" : `round ${round}`);

  const article = (attempt) => el("article", { class: "failure" },
    el("pre", { class: "asked" }, attempt.question),
    typeof attempt.before === "string" && [el("h4", null, "Before"), T.said(attempt.before), el("h4", null, "Now")],
    T.said(attempt.text),
    el("p", null, "Reference answer: ", attempt.reference === null ? "none" : el("bdi", null, attempt.reference),
      attempt.answer !== null && [" · read as: ", el("bdi", null, attempt.answer)]),
    ...T.verdict(attempt));

  const list = (found, from, into, more) => {
    into.append(...found.slice(from, from + SHOWN).map(article));
    more.hidden = from + SHOWN >= found.length;
    more.onclick = () => list(found, from + SHOWN, into, more);
  };

  const fill = async () => {
    const dialog = document.getElementById("failures");
    const { kind, round, skill } = at;
    const known = counts[round] || {};
    const choose = (name, options) => document.getElementById(`failures-${name}`).replaceChildren(...options);
    const skills = [...new Set([skill, ...Object.values(counts).flatMap((kinds) => Object.values(kinds).flatMap(Object.keys))])];
    choose("round", Object.keys(counts).map((name) => option(name, when(name), round)));
    choose("kind", Object.keys(KINDS).filter((name) => name === kind || known[name]).map((name) => option(name, KINDS[name], kind)));
    choose("skill", skills.map((name) => option(name, name.length > 60 ? `${name.slice(0, 59)}…` : name, skill)));
    const all = (known[kind] || {})[skill] || 0;
    const into = document.getElementById("failures-list");
    into.replaceChildren();
    into.scrollTop = 0;
    const data = await block(round);
    const found = ((data.cells[kind] || {})[skill] || []).map((number) => data.attempts[number]);
    const left = all > found.length ? `; ${T.count(found.length)} of them are in this file` : "";
    document.getElementById("failures-count").textContent =
      all ? `${T.count(all)} ${kind === "gained" ? "gained" : "failures"}${left}` : "None.";
    list(found, 0, into, document.getElementById("failures-more"));
    dialog.dataset.ready = `${kind} ${round} ${skill}`;
  };

  T.openFailures = (cell) => {
    const dialog = document.getElementById("failures");
    if (!dialog || !Object.keys(counts).length) {
      return;
    }
    at = { ...cell };
    if (!dialog.open) {
      dialog.showModal();
    }
    fill();
  };

  document.addEventListener("click", (event) => {
    const cell = event.target.closest("[data-cell]");
    if (cell) {
      T.openFailures({ kind: cell.dataset.cell, round: cell.dataset.round, skill: cell.dataset.skill });
    } else if (event.target.id === "failures-close" || event.target.id === "failures") {
      document.getElementById("failures").close();
    }
  });
  document.addEventListener("change", (event) => {
    const name = (event.target.id || "").replace("failures-", "");
    if (at && ["kind", "round", "skill"].includes(name) && event.target.closest("#failures")) {
      at[name] = event.target.value;
      fill();
    }
  });

  T.parts.push(() => {
    counts = JSON.parse(document.getElementById("failure-counts").textContent);
    blocks.clear();
    const dialog = document.getElementById("failures");
    if (dialog && dialog.open && at) {
      fill();
    }
  });
})(window.Tutelage);
