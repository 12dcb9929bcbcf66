// Follows the run: asks every second how far it is, and when the page has changed, puts in what changed and nothing else.
// Whatever the reader has done to the rest (scrolled, opened, chosen, typed) stays, since it is not touched.
(() => {
  "use strict";
  const RUNNING = 1000;
  const RESTING = 3000;
  const HIDDEN = 15000;
  const HOLD = 3000;  // the page's charts are drawn anew within this time after a change
  const bar = document.getElementById("live");
  const title = document.title;
  let version = bar.dataset.version;

  // What the server sent last, beside what is on the screen: the page's own scripts change the screen, never `served`.
  const onScreen = new Map();
  const remember = (sent, shown) => {
    onScreen.set(sent, shown);
    sent.childNodes.forEach((child, place) => remember(child, shown.childNodes[place]));
  };
  const served = document.body.cloneNode(true);
  remember(served, document.body);
  served.querySelectorAll("#live, script").forEach((element) => element.remove());

  const keyOf = (node) => {
    if (node.nodeType !== Node.ELEMENT_NODE) {
      return node.nodeName;
    }
    const named = node.id || node.dataset.key;
    if (named) {
      return `${node.nodeName}#${named}`;
    }
    if (node.nodeName === "DETAILS" || node.nodeName === "TR" || node.nodeName === "LI") {
      const first = node.querySelector(":scope > summary, :scope > th, :scope > bdi, :scope > b");
      return first ? `${node.nodeName} ${first.textContent}` : node.nodeName;
    }
    return node.nodeName;
  };

  const insert = (parent, node, before) => {
    const place = before && onScreen.get(before);
    parent.insertBefore(node, place && place.parentNode === parent ? place : null);
  };

  // Make `sent` equal to `next`, and do the same to what stands for it on the screen.
  const merge = (sent, next) => {
    if (sent.isEqualNode(next)) {
      return;
    }
    const shown = onScreen.get(sent);
    if (sent.nodeType !== Node.ELEMENT_NODE) {
      sent.data = next.data;
      shown.data = next.data;
      return;
    }
    for (const { name } of [...sent.attributes]) {
      if (!next.hasAttribute(name)) {
        sent.removeAttribute(name);
        shown.removeAttribute(name);
      }
    }
    for (const { name, value } of [...next.attributes]) {
      if (sent.getAttribute(name) !== value) {
        sent.setAttribute(name, value);
        shown.setAttribute(name, value);
      }
    }
    const waiting = new Map();
    for (const child of sent.childNodes) {
      const key = keyOf(child);
      waiting.set(key, [...(waiting.get(key) || []), child]);
    }
    const pairs = [...next.childNodes].map((child) => [child, (waiting.get(keyOf(child)) || []).shift()]);
    for (const gone of [...waiting.values()].flat()) {
      onScreen.get(gone).remove();
      gone.remove();
    }
    let place = sent.firstChild;
    for (const [child, found] of pairs) {
      if (found === undefined) {
        const [copy, fresh] = [child.cloneNode(true), document.importNode(child, true)];
        remember(copy, fresh);
        insert(shown, fresh, place);
        sent.insertBefore(copy, place);
      } else if (found === place) {
        place = place.nextSibling;
        merge(found, child);
      } else {
        insert(shown, onScreen.get(found), place);
        sent.insertBefore(found, place);
        merge(found, child);
      }
    }
  };

  // The page's blocks of data, id -> type and digest: only those that have changed are fetched.
  let blocks = JSON.parse(bar.dataset.blocks);

  // What the reader looks at stays where it is on the screen while something above it grows or shrinks, until they move
  // themselves. At the very top nothing is held: there the news comes in.
  let letGo = () => {};
  const hold = () => {
    letGo();
    if (scrollY === 0) {
      return;
    }
    const seen = document.elementFromPoint(innerWidth / 2, (bar.offsetHeight + innerHeight) / 2);
    const chain = [];
    for (let at = seen && (seen.closest(".figure") || seen); at && at !== document.body; at = at.parentElement) {
      chain.push([at, at.getBoundingClientRect().top]);
    }
    const moves = ["wheel", "touchmove", "pointerdown", "keydown"];
    const until = performance.now() + HOLD;
    let held = true;
    letGo = () => {
      held = false;
      document.documentElement.style.overflowAnchor = "";
      moves.forEach((name) => removeEventListener(name, letGo));
    };
    moves.forEach((name) => addEventListener(name, letGo, { passive: true }));
    document.documentElement.style.overflowAnchor = "none";  // the browser does half of this, and both is too much
    const keep = () => {
      const found = held && chain.find(([element]) => element.isConnected);
      if (!found || performance.now() > until) {
        letGo();
        return;
      }
      const by = found[0].getBoundingClientRect().top - found[1];
      if (Math.abs(by) >= 1) {
        scrollBy({ top: by, behavior: "instant" });
      }
      requestAnimationFrame(keep);
    };
    requestAnimationFrame(keep);
  };

  const ask = async (name) => {
    const reply = await fetch(name, { cache: "no-store", credentials: "omit", redirect: "error" });
    if (!reply.ok) {
      throw new Error(`status ${reply.status}`);
    }
    return reply;
  };

  const fresh = async ([id, [type, digest]]) => {
    const block = document.createElement("script");
    block.type = type;  // no script's: no browser runs it
    block.id = id;
    block.textContent = await (await ask(`block/${digest}`)).text();
    return block;
  };

  const update = async () => {
    const now = await (await ask("update")).json();
    if (now.programs !== bar.dataset.programs) {
      location.reload();  // the page has other scripts now, which an open one cannot take over
      return;
    }
    const changed = Object.entries(now.blocks).filter(([id, [, digest]]) => !blocks[id] || blocks[id][1] !== digest);
    const made = await Promise.all(changed.map(fresh));
    hold();
    merge(served, new DOMParser().parseFromString(`<body>${now.body}</body>`, "text/html").body);
    const gone = Object.keys(blocks).filter((id) => !now.blocks[id]);
    [...gone, ...made.map((block) => block.id)].forEach((id) => document.getElementById(id)?.remove());
    document.getElementById("data").append(...made);
    blocks = now.blocks;
    version = now.version;
    bar.dataset.version = version;
    document.dispatchEvent(new Event("tutelage:changed"));
  };

  const say = (name, text) => {
    const element = bar.querySelector(`[data-live=${name}]`);
    const place = element.querySelector("code") || element;
    if (place.textContent !== text) {
      place.textContent = text;
    }
    if (element.classList.contains("live-more")) {
      element.hidden = !text;
    }
  };

  const show = (status) => {
    if (bar.dataset.state && bar.dataset.state !== status.state) {
      hold();  // the line on top gets other lines below it
    }
    bar.dataset.state = status.state;
    for (const name of ["sentence", "count", "line", "note", "resume", "trouble"]) {
      say(name, status[name] || "");
    }
    const progress = bar.querySelector("progress");
    progress.hidden = typeof status.share !== "number";
    progress.value = status.share || 0;
    document.title = `${status.sentence} · ${title}`;
  };

  let timer = 0;
  let looking = false;
  const look = async () => {
    if (looking) {
      return;
    }
    looking = true;
    clearTimeout(timer);
    let wait = RESTING;
    try {
      const status = await (await ask("status")).json();
      show(status);
      if (status.version && status.version !== version) {
        await update();
      }
      wait = status.state === "running" ? RUNNING : RESTING;
    } catch (error) {
      const at = new Date().toLocaleTimeString();
      if (bar.dataset.state !== "gone") {
        show({ state: "gone", sentence: "not followed any more", note: `Since ${at} nothing answers where this page came from: start tutelage ui again. What is shown stands as it was.` });
      }
    }
    looking = false;
    timer = setTimeout(look, document.hidden ? HIDDEN : wait);
  };

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      look();
    }
  });
  look();
})();
