"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const options = { actions: false, renderer: "svg", tooltip: { theme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light" } };
  const place = (name) => document.getElementById(name === "inputs" ? "inputs-chart" : name);

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
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    rows.sort((a, b) => (down ? -1 : 1) * compare(a[0], b[0]));
    body.append(...rows.map(([, row]) => row));
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

  // Charts: the pictures that stand in the page are drawn again, with values under the pointer.
  document.querySelectorAll(".scripted").forEach((each) => { each.hidden = false; });
  const draw = (name, spec) => vegaEmbed(place(name), spec, options);
  const withSeeds = (spec, metric) => ({
    ...spec,
    layer: [
      ...spec.layer,
      {
        data: { values: data.seeds.filter((point) => point.metric === metric) },
        mark: { type: "line", strokeWidth: 0.8, opacity: 0.6 },
        encoding: {
          x: { field: "x", type: "quantitative" },
          y: { field: "mean", type: "quantitative" },
          color: spec.layer[1].encoding.color,
          detail: { field: "seed" },
          tooltip: [{ field: "line" }, { field: "seed" }, { field: "mean", format: ".4g" }],
        },
      },
    ],
  });
  const drawCurves = (single) => {
    for (const [name, spec] of Object.entries(data.charts)) {
      if (spec.layer && spec.title) draw(name, single ? withSeeds(spec, spec.title.text) : spec);
    }
  };
  const seeds = document.getElementById("seeds");
  if (seeds) {
    seeds.disabled = data.seeds.length === 0;
    seeds.addEventListener("change", () => drawCurves(seeds.checked));
  }
  drawCurves(false);
  if (data.charts.differences) draw("differences", data.charts.differences);
  if (data.charts.inputs) {
    draw("inputs", data.charts.inputs).then(({ view }) => view.addEventListener("click", (event, item) => {
      if (!item || !item.datum || item.datum.prompt === undefined) return;
      const card = document.getElementById("input");
      card.hidden = false;
      card.textContent = `${item.datum.prompt}\n\n${item.datum.outputs.join("\n---\n")}`;
    }));
  }

  // Any two metrics, by the last value of each run.
  const metrics = [...new Set(data.last.flatMap((run) => Object.keys(run.values)))];
  const [across, up] = ["pair-x", "pair-y"].map((id) => document.getElementById(id));
  for (const select of [across, up]) select.append(...metrics.map((name) => new Option(name, name)));
  const drawPair = () => {
    const values = data.last
      .filter((run) => across.value in run.values && up.value in run.values)
      .map((run) => ({ line: run.line, seed: run.seed, a: run.values[across.value], b: run.values[up.value] }));
    draw("pair", {
      $schema: "https://vega.github.io/schema/vega-lite/v6.json",
      width: 420, height: 260, data: { values },
      mark: { type: "point", filled: true, size: 45 },
      encoding: {
        x: { field: "a", type: "quantitative", title: across.value, scale: { zero: false } },
        y: { field: "b", type: "quantitative", title: up.value, scale: { zero: false } },
        color: { field: "line", type: "nominal", legend: null, scale: { domain: Object.keys(data.colours), range: Object.values(data.colours) } },
        tooltip: [{ field: "line", title: "runs" }, { field: "seed" }, { field: "a", title: across.value, format: ".4g" }, { field: "b", title: up.value, format: ".4g" }],
      },
    });
  };
  if (metrics.length) {
    across.value = metrics[0];
    up.value = metrics.includes("score") ? "score" : metrics[metrics.length - 1];
    across.addEventListener("change", drawPair);
    up.addEventListener("change", drawPair);
    drawPair();
  }
})();
