"use strict";
// Draws the question browser from the JSON in #data. Questions, tests, programs and messages are other people's text:
// they reach the page through textContent alone, never as markup.
const problems = [];
addEventListener("error", (event) => {
  problems.push(String(event.message));
  document.documentElement.dataset.errors = problems.join("; ");
});

const data = JSON.parse(document.getElementById("data").textContent);
const list = document.getElementById("list");
const detail = document.getElementById("detail");
const search = document.getElementById("search");
const which = document.getElementById("which");
const where = document.getElementById("where");
const found = document.getElementById("found");
const LETTERS = data.statuses;
let current = null;

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const percent = (value) => (100 * value).toFixed(0) + " %";
const kept = (question) => question.tests.filter((test) => test.lost === null).length;
const samples = (question) => question.programs.filter((program) => !program.reference);
function meanRate(question) {
  const rates = samples(question).map((program) => program.rate).filter((rate) => rate !== null);
  return rates.length ? rates.reduce((sum, rate) => sum + rate, 0) / rates.length : null;
}

// ---- the list ----

const FILTERS = {
  all: () => true,
  kept: (question) => question.lost === null,
  lost: (question) => question.lost !== null,
  hard: (question) => question.hard !== null,
  pairs: (question) => question.pairs > 0,
};

function matches(question) {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (question.id + " " + (question.entry || "") + " " + question.text).toLowerCase();
  return (
    FILTERS[which.value](question) &&
    (where.value === "" || question.source === where.value) &&
    words.every((word) => text.includes(word))
  );
}

function drawList() {
  const shown = data.questions.filter(matches);
  found.textContent = `${shown.length} of ${data.questions.length} questions here`;
  list.replaceChildren(
    ...shown.map((question) => {
      const mean = meanRate(question);
      return make(
        "button",
        {
          type: "button",
          "data-id": question.id,
          "aria-current": current === question ? "true" : null,
          onclick: () => { location.hash = "question=" + encodeURIComponent(question.id); },
        },
        make(
          "span",
          { class: "line" },
          make("b", {}, question.id),
          make("span", { class: "faint" }, question.lost !== null ? "dropped" : mean === null ? "" : percent(mean)),
        ),
        make("small", {}, question.text),
      );
    }),
  );
}

list.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...list.querySelectorAll("button")];
  const next = buttons[buttons.indexOf(document.activeElement) + step];
  if (next) next.focus();
  event.preventDefault();
});
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    search.focus();
    event.preventDefault();
  }
});
for (const control of [search, which, where]) control.addEventListener("input", drawList);

// ---- one question ----

function cell(status, unsealed) {
  if (status === null) return make("div", { class: "cell none", "aria-label": "not judged" });
  const look = LETTERS[status];
  const node = make(
    "div",
    { class: "cell" + (unsealed ? " unsealed" : ""), "aria-label": look.name + (unsealed ? ", not sealed" : "") },
    look.letter,
  );
  node.style.background = look.colour;
  node.style.color = look.ink;
  return node;
}

function legend(question) {
  const counts = new Map();
  let unsealed = 0;
  for (const program of question.programs)
    program.statuses.forEach((status, place) => {
      if (status === null) return;
      counts.set(status, (counts.get(status) || 0) + 1);
      if (!program.sealed[place] && LETTERS[status].name !== "not_run") unsealed += 1;
    });
  const entries = [...counts.entries()].sort((a, b) => a[0] - b[0]).map(([status, count]) =>
    make("span", {}, cell(status, false), `${LETTERS[status].name} ${count}`),
  );
  if (unsealed) {
    const sign = cell(0, true);
    sign.textContent = "";
    sign.style.background = "#5b6675";
    entries.push(make("span", {}, sign, `not sealed ${unsealed}`));
  }
  if (question.programs.some((program) => program.statuses.includes(null)))
    entries.push(make("span", {}, cell(null, false), "test dropped before"));
  return make("div", { class: "legend" }, ...entries);
}

function describe(about, question, program, place) {
  const test = question.tests[place];
  const parts = [
    make("b", {}, `Test ${place + 1}`),
    test.lost !== null ? ` (dropped: ${test.lost})` : "",
    make("code", { class: "test" }, test.text),
  ];
  if (program) {
    const status = program.statuses[place];
    const name = `${program.model} #${program.id}`;
    if (status === null) parts.push(make("span", {}, `${name}: not judged against this test`));
    else {
      parts.push(make("span", {}, make("b", {}, LETTERS[status].name), ` for ${name}`));
      if (!program.sealed[place] && LETTERS[status].name !== "not_run")
        parts.push(" ", make("span", { class: "tag lost" }, "not sealed"));
      const message = program.messages[place];
      if (message) parts.push(make("code", { class: "test" }, message));
    }
  } else {
    const judged = samples(question).filter((one) => one.statuses[place] !== null);
    const passed = judged.filter((one) => LETTERS[one.statuses[place]].name === "passed").length;
    if (judged.length) parts.push(make("span", {}, `${passed} of ${judged.length} sampled programs pass it`));
  }
  about.replaceChildren(...parts);
}

function matrix(question, about, source) {
  const width = question.tests.length;
  let opened = null;
  function open(row, program) {
    if (opened) opened.classList.remove("open");
    opened = row;
    row.classList.add("open");
    source.replaceChildren(
      make("h3", {}, `Program of ${program.model} #${program.id}`, program.reference ? " (reference)" : ""),
      program.program === null
        ? make("p", { class: "faint" }, "The answer held no program. Nothing was run.")
        : make("pre", { tabindex: "0" }, make("code", {}, data.programs[program.program])),
    );
  }
  const head = make("tr", {}, make("th", { scope: "col" }, "program"));
  question.tests.forEach((test, place) => {
    head.append(
      make(
        "th",
        { scope: "col", class: test.lost === null ? null : "dropped", onmouseenter: () => describe(about, question, null, place) },
        String(place + 1),
      ),
    );
  });
  const body = make("tbody", {});
  let group = null;
  question.programs.forEach((program, number) => {
    const title = program.reference ? `${program.model} (reference)` : program.model;
    if (title !== group) {
      group = title;
      body.append(make("tr", { class: "group" }, make("th", { colspan: width + 1, scope: "rowgroup" }, title)));
    }
    const rate = program.program === null ? "no code" : program.rate === null ? `${program.passed} passed` : percent(program.rate);
    const row = make("tr", { "data-row": number });
    row.append(
      make(
        "th",
        { scope: "row" },
        make(
          "button",
          { type: "button", title: "show the program", onclick: () => open(row, program) },
          make("span", {}, `${program.model} #${program.id}`),
          make("span", { class: "faint" }, rate),
        ),
      ),
    );
    program.statuses.forEach((status, place) => {
      const node = cell(status, status !== null && !program.sealed[place] && LETTERS[status].name !== "not_run");
      node.tabIndex = number === 0 && place === 0 ? 0 : -1;
      node.dataset.place = place;
      const tell = () => describe(about, question, program, place);
      node.addEventListener("mouseenter", tell);
      node.addEventListener("focus", tell);
      node.addEventListener("click", () => { open(row, program); node.focus(); });
      row.append(make("td", {}, node));
    });
    body.append(row);
  });
  const table = make("table", { "aria-label": "tests and programs" }, make("thead", {}, head), body);
  table.addEventListener("keydown", (event) => {
    const at = event.target;
    if (!at.classList.contains("cell")) return;
    const rows = [...body.querySelectorAll("tr[data-row]")];
    let row = rows.indexOf(at.closest("tr"));
    let place = Number(at.dataset.place);
    if (event.key === "ArrowRight") place += 1;
    else if (event.key === "ArrowLeft") place -= 1;
    else if (event.key === "ArrowDown") row += 1;
    else if (event.key === "ArrowUp") row -= 1;
    else if (event.key === "Enter" || event.key === " ") {
      open(rows[row], question.programs[Number(rows[row].dataset.row)]);
      event.preventDefault();
      return;
    } else return;
    event.preventDefault();
    const next = rows[row] && rows[row].querySelector(`.cell[data-place="${place}"]`);
    if (next) {
      at.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    }
  });
  if (question.programs.length) {
    const first = question.programs.findIndex((program) => !program.reference);
    const number = first < 0 ? 0 : first;
    open(body.querySelector(`tr[data-row="${number}"]`), question.programs[number]);
  }
  return make("div", { class: "matrix" }, table);
}

function drawQuestion(question) {
  const mean = meanRate(question);
  const tags = [
    question.lost === null ? make("span", { class: "tag kept" }, "kept") : make("span", { class: "tag lost" }, "dropped at " + question.lost),
    question.hard !== null ? make("span", { class: "tag hard" }, `hard: mean ${question.hard[0].toFixed(3)}, deviation ${question.hard[1].toFixed(3)}`) : null,
    make("span", { class: "tag other" }, `source ${question.source}`),
    make("span", { class: "tag other" }, `${kept(question)} of ${question.tests.length} tests kept`),
    question.pairs ? make("span", { class: "tag other" }, `${question.pairs} pairs`) : null,
    mean === null ? null : make("span", { class: "tag other" }, `mean pass rate ${mean.toFixed(3)}`),
    question.entry ? make("span", { class: "tag other" }, `calls ${question.entry}`) : null,
  ];
  const about = make("div", { id: "about", "aria-live": "polite" });
  const source = make("div", { id: "source" });
  const parts = [
    make("h3", { tabindex: "-1" }, question.id),
    make("p", {}, ...tags.filter(Boolean)),
    make("div", { class: "prose", tabindex: "0" }, question.text),
  ];
  if (question.programs.length) {
    parts.push(
      make("h3", {}, "Tests × programs"),
      make("p", { class: "faint" }, "Point at a cell, or walk with the arrow keys, for what happened; click or press Enter for the program."),
      legend(question),
      matrix(question, about, source),
      about,
      source,
    );
    describe(about, question, null, Math.max(0, question.tests.findIndex((test) => test.lost === null)));
  } else parts.push(make("p", { class: "faint" }, "No program was run for this question."));
  parts.push(make("h3", {}, "Tests"));
  parts.push(
    make(
      "ol",
      { class: "tests", tabindex: "0" },
      ...question.tests.map((test, place) =>
        make(
          "li",
          { class: test.lost === null ? null : "dropped" },
          make("span", { class: "faint num" }, String(place + 1)),
          make("code", {}, test.text),
          make("span", { class: "why" }, test.lost === null ? "" : test.lost),
        ),
      ),
    ),
  );
  detail.replaceChildren(...parts);
}

function follow(event) {
  const wanted = /^#question=(.+)$/.exec(location.hash);
  let id = null;
  if (wanted) {
    try { id = decodeURIComponent(wanted[1]); } catch { id = wanted[1]; }
  }
  const question = id === null ? null : data.questions.find((one) => one.id === id);
  if (question) {
    current = question;
    drawQuestion(question);
    for (const button of list.querySelectorAll("button")) {
      if (button.dataset.id === question.id) {
        button.setAttribute("aria-current", "true");
        if (!event) button.scrollIntoView({ block: "nearest" });
      } else button.removeAttribute("aria-current");
    }
    if (!event) document.getElementById("questions").scrollIntoView();
  } else if (id !== null) {
    detail.replaceChildren(make("p", {}, `The question ${id} is not among those shown here.`));
  }
}

for (const source of data.sources) where.append(make("option", { value: source }, source));
drawList();
addEventListener("hashchange", follow);
if (/^#question=/.test(location.hash)) follow(null);
else if (data.questions.length) {
  current = data.questions.find((question) => question.lost === null && question.programs.length) || data.questions[0];
  drawQuestion(current);
  drawList();
}
document.documentElement.dataset.ready = "yes";
