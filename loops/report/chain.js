// The chain of one lesson, as `tutelage why` tells it: from the failure to the training row, and on to the exam.
((T) => {
  "use strict";
  const { el } = T;

  const said = (text) => el("pre", { class: "said" }, text || el("i", null, "nothing at all"));
  T.said = said;
  const tag = (text, kind) => el("span", { class: `tag ${kind || ""}` }, el("bdi", null, text));
  const score = (value) =>
    value === null ? tag("not graded") : value >= 1 ? tag("right", "up") : tag(value > 0 ? `score ${value}` : "wrong", "down");

  // One attempt: what was said, and what somebody thinks of it. The page's failures look like this too.
  T.verdict = (attempt) => [
    attempt.missing.length > 0 && el("p", null, "Lacked: ", attempt.missing.map((name) => [tag(name), " "]).flat()),
    attempt.error && el("p", null, "Kind of error: ", tag(attempt.error)),
    attempt.reason && el("p", { class: "reason" }, el("bdi", null, attempt.reason)),
    attempt.by && el("p", { class: "quiet" }, `Diagnosis by ${attempt.by}`, attempt.verdict && `, verdict ${attempt.verdict}`,
      attempt.privileged && ", who saw the reference answer"),
    attempt.cut && el("p", { class: "quiet" }, "The answer was cut off at its longest."),
    attempt.note && el("p", { class: "quiet" }, el("bdi", null, attempt.note)),
    attempt.rewards.length > 0 && el("p", { class: "quiet" }, `Rewards of its steps: ${attempt.rewards.map((r) => r.toFixed(2)).join(", ")}`),
  ];

  const side = (kind, title, ...content) => el("div", { class: `side ${kind}` }, el("h4", null, title), ...content);

  const before = (row, chain) => {
    const attempt = chain.attempt;
    if (attempt === null) {
      const told = chain.attempt_id ? `Its attempt ${chain.attempt_id} is not in the run folder.` : "It was not made from one failed answer.";
      return side("", "No attempt behind it", el("p", { class: "quiet" }, told));
    }
    const kind = attempt.score === null ? "" : attempt.score >= 1 ? "right" : "wrong";
    return side(kind, ["Before: the student, round ", row.round, " ", score(attempt.score)],
      el("pre", { class: "asked" }, attempt.question), said(attempt.text),
      attempt.reference !== null && el("p", null, "Reference answer: ", el("bdi", null, attempt.reference)), ...T.verdict(attempt));
  };

  const after = (chain) => {
    if (chain.attempt === null) {
      return null;
    }
    if (chain.after === null) {
      return side("", "After", el("p", { class: "quiet" }, "No later round examined this question again."));
    }
    const { round, text, score: value } = chain.after;
    return side(value === null ? "" : value >= 1 ? "right" : "wrong", ["After: the same question, round ", round, " ", score(value)], said(text));
  };

  const money = (usd) => (usd === null ? "price unknown" : usd > 0 && usd < 0.01 ? `$${usd.toPrecision(2)}` : `$${usd.toFixed(2)}`);

  const calls = (chain) => {
    if (!chain.calls.length && !chain.calls_missing) {
      return [el("p", { class: "quiet" }, "None: no teacher was asked for it.")];
    }
    const cell = (value) => el("td", { class: "n" }, value);
    const rows = chain.calls.map((call) => el("tr", null,
      el("th", { scope: "row" }, el("bdi", null, call.purpose), " ", el("code", { class: "id" }, call.id)),
      cell(call.prompt === null ? "–" : T.count(call.prompt)), cell(call.completion === null ? "–" : T.count(call.completion)),
      cell(`${call.seconds.toFixed(1)} s`), cell(money(call.usd))));
    const head = ["call", "prompt", "completion", "time", "cost"].map((name, at) => el("th", { scope: "col", class: at ? "n" : null }, name));
    return [
      rows.length > 0 && el("div", { class: "scroll" }, el("table", null, el("thead", null, el("tr", null, head)), el("tbody", null, rows))),
      chain.calls_missing > 0 && el("p", { class: "quiet" }, `${chain.calls_missing} more that the ledger does not hold.`),
    ];
  };

  const checks = (chain, replayed) => chain.checks.length
    ? chain.checks.map((check) => el("p", null, tag(check.passed ? "passed" : "dropped", check.passed ? "up" : "down"), " ",
      el("b", null, el("bdi", null, check.filter)), check.reason && [": ", el("bdi", null, check.reason)],
      check.detail && el("small", null, " (", el("bdi", null, check.detail), ")")))
    : [el("p", { class: "quiet" }, replayed ? "None: the student's own right answers are not filtered." : "None has judged it.")];

  const training = (row, round) => {
    if (row.standing !== "trained" && row.standing !== "replayed") {
      return "It was not trained on.";
    }
    return round
      ? `One of ${T.count(round.lessons)} rows in round ${row.round}: ${T.count(round.steps)} steps, loss ${round.first.toFixed(2)} → ${round.last.toFixed(2)}.`
      : `Round ${row.round} has not been trained yet.`;
  };

  const exam = (row, found) => {
    if (!found) {
      return [el("p", { class: "quiet" }, row.skill ? "The exam after it has not been taken, or does not ask for this skill." : "It aims at no one skill.")];
    }
    const change = found.change;
    const kind = change && change[1] > 0 ? "up" : change && change[2] < 0 ? "down" : "";
    return [el("p", null, el("bdi", null, row.skill), `: ${T.percent(found.before)} → ${T.percent(found.after)} of ${T.count(found.n)} questions `,
      change && tag(`${T.points(change[0])} points [${T.points(change[1])}, ${T.points(change[2])}], p ${change[3] < 0.001 ? "< 0.001" : change[3].toPrecision(2)}`, kind))];
  };

  // Everything about one lesson, as an element.
  T.chain = (row, chain, index) => {
    const found = (index.exams[row.round] || {})[row.skill];
    const steps = [
      ["The seed problem", chain.seed === null
        ? [el("p", { class: "quiet" }, "No seed problem is named.")]
        : [el("pre", { class: "asked" }, chain.seed.question), chain.seed.source && el("p", { class: "quiet" }, el("bdi", null, chain.seed.source))]],
      ["The teacher's calls", calls(chain)],
      ["Filters", checks(chain, row.standing === "replayed")],
      ["Selection", [el("p", null, tag(row.standing, row.standing === "trained" ? "up" : row.standing === "dropped" ? "down" : ""),
        ` weight ${chain.weight}`, chain.share !== null && `, drawn with probability ${chain.share}`)]],
      ["Training", [el("p", null, training(row, index.rounds[row.round]))]],
      [`The exam after round ${row.round}`, exam(row, found)],
    ];
    const after_ = after(chain);
    return el("article", { class: "lesson" },
      el("p", { class: "chain" }, el("code", { class: "id" }, row.id), ` round ${row.round} · `, el("bdi", null, chain.method), " · aims at ", el("bdi", null, row.skill || "no one skill")),
      el("div", { class: "taught" }, el("h4", null, "The lesson"), el("pre", { class: "asked" }, chain.prompt), said(chain.completion),
        chain.rejected !== null && [el("h4", null, "Rejected"), said(chain.rejected)],
        chain.reference !== null && el("p", null, "Reference answer: ", el("bdi", null, chain.reference))),
      el("div", { class: "pair" }, before(row, chain), after_),
      el("ol", { class: "steps" }, steps.map(([title, content]) => el("li", null, el("h4", null, title), ...content))));
  };
})(window.Tutelage);
