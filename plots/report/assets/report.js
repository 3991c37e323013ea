"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const options = { actions: false, renderer: "svg", tooltip: { theme: dark ? "dark" : "light" } };
  const place = (name) => document.getElementById(name === "inputs" ? "inputs-chart" : name);
  document.querySelectorAll(".scripted").forEach((each) => { each.hidden = false; });

  // Rows of a table that stands in the page as columns.
  const rows = (columns) => {
    const names = Object.keys(columns);
    const values = names.map((name) => {
      const { texts, places } = columns[name];
      return texts ? places.map((at) => texts[at]) : columns[name];
    });
    const count = names.length ? values[0].length : 0;
    return Array.from({ length: count }, (_, row) =>
      Object.fromEntries(names.map((name, column) => [name, values[column][row]])));
  };

  // Table of runs: sorted by a click on a column's name, filtered by words.
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = Number(text);
    return text !== "" && !Number.isNaN(number) ? number : text;
  };
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  };
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = [...body.rows].map((row) => [value(row, column), row]);
    keyed.sort((a, b) => (down ? -1 : 1) * compare(a[0], b[0]));
    body.append(...keyed.map(([, row]) => row));
  }));
  const filter = document.getElementById("filter");
  const shown = document.getElementById("shown");
  const texts = new Map([...body.rows].map((row) => [row, row.textContent.toLowerCase()]));
  const show = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const [row, text] of texts) {
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    shown.textContent = `${count} of ${texts.size} runs`;
  };
  filter.addEventListener("input", show);
  show();

  // Charts: a picture is drawn again once it comes into view, with values under the pointer.
  const seeds = document.getElementById("seeds");
  const seedRows = (() => { let found; return () => (found ??= rows(data.seeds)); })();
  const colourings = {};
  const kindOf = (name) => name.split("-")[0];
  const recoloured = (kind, encoding) => {
    const chosen = colourings[kind];
    if (!chosen) return encoding;
    const domain = Object.keys(chosen.lines);
    const range = domain.map((line) => chosen.colours[chosen.lines[line]]);
    return { ...encoding, color: { ...encoding.color, scale: { domain, range } } };
  };
  const curve = (name, { spec, columns }) => {
    const [band, line] = spec.layer;
    const values = rows(columns);
    const opacity = line.mark.point ? 1 : 0; // points that are not seen tell their values
    const layer = [
      { ...band, encoding: recoloured(kindOf(name), band.encoding) },
      { mark: { ...line.mark, point: { size: opacity ? 20 : 60, opacity } }, encoding: recoloured(kindOf(name), line.encoding) },
    ];
    if (seeds?.checked && kindOf(name) === "curve") {
      layer.push({
        data: { values: seedRows().filter((point) => point.metric === spec.title.text) },
        mark: { type: "line", strokeWidth: 0.8, opacity: 0.6 },
        encoding: {
          x: line.encoding.x, y: line.encoding.y, color: layer[1].encoding.color, detail: { field: "seed" },
          tooltip: [{ field: "line" }, { field: "seed" }],
        },
      });
    }
    return { ...spec, data: { values }, layer };
  };
  const whole = {
    pair: () => pair(),
    inputs: (name, { spec, columns }) => ({ ...spec, data: { values: rows(columns) } }),
    differences: (name, { spec, columns }) => ({ ...spec, data: { values: rows(columns) } }),
    curve,
    earlier: curve,
  };
  const drawn = new Set();
  const draw = async (name) => {
    drawn.add(name);
    const { view } = await vegaEmbed(place(name), whole[kindOf(name)](name, data.charts[name]), options);
    place(name).dataset.drawn = "true";
    if (name === "inputs") view.addEventListener("click", tellInput);
  };
  const drawAgain = (kinds) => [...drawn].filter((name) => kinds.includes(kindOf(name))).forEach(draw);
  const watcher = new IntersectionObserver((entries) => entries
    .filter((entry) => entry.isIntersecting)
    .forEach(({ target }) => { watcher.unobserve(target); draw(target.id === "inputs-chart" ? "inputs" : target.id); }));

  // Colours of lines, and single runs.
  const legend = (kind) => document.getElementById(`legend-${kind}`).replaceChildren(
    ...Object.entries(colourings[kind].colours).map(([text, colour]) => {
      const item = document.createElement("li");
      const mark = document.createElement("i");
      mark.style.background = colour;
      item.append(mark, text || "none");
      return item;
    }));
  document.querySelectorAll(".colouring").forEach((select) => {
    const kind = select.dataset.of;
    const choose = () => { colourings[kind] = data.colourings[kind][select.value]; };
    choose();
    select.addEventListener("change", () => { choose(); legend(kind); drawAgain([kind, "pair"]); });
  });
  if (seeds) {
    seeds.disabled = Object.keys(data.seeds).length === 0;
    seeds.addEventListener("change", () => drawAgain(["curve"]));
  }

  // One input: its prompt and outputs.
  const tellInput = (event, item) => {
    if (item?.datum?.prompt === undefined) return;
    const card = document.getElementById("input");
    card.hidden = false;
    card.textContent = `${item.datum.run}\n\n${item.datum.prompt}\n\n${item.datum.outputs}`;
  };

  // Any two metrics, by the last value of each run.
  const [across, up] = ["pair-x", "pair-y"].map((id) => document.getElementById(id));
  const pair = () => {
    const { spec } = data.charts.pair;
    const { line, run, [across.value]: a, [up.value]: b } = data.last;
    const values = rows({ line, run, a, b }).filter((row) => row.a !== null && row.b !== null);
    const { x, y, tooltip } = spec.encoding;
    const encoding = {
      ...recoloured("curve", spec.encoding),
      x: { ...x, title: across.value },
      y: { ...y, title: up.value },
      tooltip: [...tooltip.slice(0, 2), { ...tooltip[2], title: across.value }, { ...tooltip[3], title: up.value }],
    };
    return { ...spec, data: { values }, encoding };
  };
  if (data.charts.pair) {
    const metrics = Object.keys(data.last).filter((name) => name !== "line" && name !== "run");
    for (const select of [across, up]) {
      select.append(...metrics.map((name) => new Option(name, name)));
      select.addEventListener("change", () => draw("pair"));
    }
    across.value = data.charts.pair.spec.encoding.x.title;
    up.value = data.charts.pair.spec.encoding.y.title;
  }
  Object.keys(data.charts).forEach((name) => watcher.observe(place(name)));
})();
