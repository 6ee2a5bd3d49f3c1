"""The page's script: it searches and opens groups. Every text of the data becomes a text node, never HTML."""

from __future__ import annotations

SCRIPT = """"use strict";
(() => {
  const groups = JSON.parse(document.getElementById("groups").textContent);
  const list = document.getElementById("list"), found = document.getElementById("found");
  const search = document.getElementById("search"), only = document.getElementById("only");
  const order = document.getElementById("order"), colour = document.getElementById("colour");
  const SIGNS = {correct: "✓", incorrect: "✗", no_answer: "∅", unverified: "?"};
  const KINDS = {correct: "right", incorrect: "wrong", no_answer: "none", unverified: "unknown"};
  const make = (tag, kind, ...children) => {
    const element = document.createElement(tag);
    if (kind) element.className = kind;
    element.append(...children);
    return element;
  };
  const number = (value, signed) => value === null ? "–"
    : (signed && value > 0.005 ? "+" : "") + (Math.abs(value) < 0.005 ? 0 : value).toFixed(2);
  const level = (nats) => nats < 25 ? "" : nats < 70 ? "e1" : nats < 140 ? "e2" : nats < 210 ? "e3" : "e4";

  const text = (completion) => {
    if (completion.hidden) return make("p", "soft", "judged to do what it should refuse; not in this page");
    const box = make("div", "text"), answers = new Set(completion.answers);
    completion.pieces.forEach((piece, place) => {
      const nats = completion.nats && colour.checked ? completion.nats[place] : -1;
      if (!answers.has(place) && level(nats) === "") return box.append(piece);
      const part = make(answers.has(place) ? "mark" : "span", level(nats), piece);
      if (nats >= 0) part.title = (nats / 100).toFixed(2) + " nats";
      box.append(part);
    });
    return box;
  };
  const strip = (values) => {
    const box = make("div", "strip"), most = Math.max(0.01, ...values);
    for (const value of values) {
      const bar = make("i");
      bar.style.height = (100 * value / most).toFixed(0) + "%";
      box.append(bar);
    }
    box.title = "entropy from the first to the last token; highest " + most.toFixed(2) + " nats";
    return box;
  };
  const card = (completion) => {
    const answer = completion.answer === null ? "" : " " + completion.answer;
    const said = SIGNS[completion.outcome] + " " + completion.outcome + answer;
    const title = make("b", "", "#" + completion.number + " " + said);
    const facts = Object.entries(completion.parts).map(([name, value]) => name + " " + number(value, true));
    if (completion.tokens >= 0) facts.push(completion.tokens.toLocaleString("en") + " tokens");
    facts.push(completion.reason);
    if (completion.finish !== "stop") facts.push(completion.finish === "length" ? "cut off" : "end not known");
    const worth = "advantage " + number(completion.advantage, true) + " · reward " + number(completion.reward, true);
    const box = make("article", "card is-" + completion.outcome, make("header", "", title, make("span", "", worth)),
      make("div", "soft", facts.filter(Boolean).join(" · ")));
    if (completion.strip && colour.checked) box.append(strip(completion.strip));
    box.append(text(completion));
    return box;
  };
  const fill = (details, group) => {
    while (details.children.length > 1) details.lastChild.remove();
    details.append(make("div", "question", group.question));
    group.options.forEach((option, place) =>
      details.append(make("div", "question", String.fromCharCode(65 + place) + "  " + option)));
    details.append(make("div", "", "gold ", make("span", "gold", group.gold),
      make("span", "soft", group.dropped ? "  dropped: " + group.dropped : "  kept")));
    details.append(make("div", "cards", ...group.completions.map(card)));
  };
  const row = (group) => {
    const boxes = make("span", "boxes", ...group.completions.map((each) => make("i", KINDS[each.outcome])));
    boxes.title = group.correct + " of " + group.completions.length + " correct";
    const summary = make("summary", "", make("b", "", group.id), boxes, make("span", "", number(group.reward, true)),
      make("span", "", group.question));
    const details = make("details", "group", summary);
    details.addEventListener("toggle", () => { if (details.open) fill(details, group); });
    return details;
  };
  for (const group of groups) {
    group.words = [group.id, group.question, group.gold, group.dropped, ...group.completions.flatMap((each) =>
      [each.answer || "", each.reason, each.pieces.join("")])].join("\\n").toLowerCase();
    group.row = row(group);
  }
  const passes = {
    all: () => true,
    mixed: (group) => group.correct > 0 && group.correct < group.completions.length,
    solved: (group) => group.correct === group.completions.length,
    unsolved: (group) => group.correct === 0,
    dropped: (group) => group.dropped !== "",
  };
  const keys = {
    source: null,
    best: (group) => -(group.reward ?? -Infinity),
    worst: (group) => group.reward ?? Infinity,
    longest: (group) => -Math.max(-1, ...group.completions.map((each) => each.tokens)),
    hardest: (group) => group.correct / Math.max(1, group.completions.length),
  };
  const show = () => {
    const words = search.value.toLowerCase(), key = keys[order.value];
    const chosen = groups.filter((group) => passes[only.value](group) && group.words.includes(words));
    if (key) chosen.sort((one, other) => key(one) - key(other));
    list.replaceChildren(...chosen.map((group) => group.row));
    found.textContent = chosen.length + " of " + groups.length;
  };
  const again = () => groups.forEach((group) => { if (group.row.open) fill(group.row, group); });
  for (const element of [search, only, order]) element.addEventListener("input", show);
  colour.addEventListener("change", again);
  show();
  const asked = groups.find((group) => "#" + encodeURIComponent(group.id) === location.hash);
  if (asked) { asked.row.open = true; asked.row.scrollIntoView(); }
})();
"""
