// Draws the figures of the page's data block in the page's own colours, and again when the reader switches theme.
((T) => {
  "use strict";
  let figures = {};
  const NARROW = 560;
  const SHORT = 15;

  // A string that names one of the page's CSS variables stands for its value.
  const themed = (value, style) => {
    if (typeof value === "string") {
      return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    }
    if (Array.isArray(value)) {
      return value.map((item) => themed(item, style));
    }
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item, style)]));
    }
    return value;
  };

  const shortened = (text) => {
    const plain = text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
    const signs = [...plain];
    const cut = signs.length > SHORT ? signs.slice(0, SHORT - 1).join("").trimEnd() + "…" : plain;
    return cut.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  };

  const rgb = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  const light = (channels) => {
    const [r, g, b] = channels.map((c) => (c <= 10 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);

  // The colour that a cell of a heat map has, on its scale of evenly placed colours.
  const cellColor = (map, value) => {
    const colors = map.colorscale.map((step) => rgb(step[1]));
    const share = Math.min(1, Math.max(0, (value - map.zmin) / (map.zmax - map.zmin))) * (colors.length - 1);
    const below = Math.min(Math.floor(share), colors.length - 2);
    return colors[below].map((c, i) => c + (colors[below + 1][i] - c) * (share - below));
  };

  // The figures in the cells, each in whichever of two inks reads better there (WCAG's contrast).
  const cellTexts = (map) => {
    const trace = { type: "scatter", mode: "text", x: [], y: [], text: [], hoverinfo: "skip", showlegend: false };
    const colors = [];
    map.z.forEach((row, i) => row.forEach((value, j) => {
      if (value !== null) {
        const under = light(cellColor(map, value));
        trace.x.push(map.x[j]);
        trace.y.push(map.y[i]);
        trace.text.push(map.text[i][j]);
        colors.push(contrast(under, 1) > contrast(under, light([20, 22, 26])) ? "#ffffff" : "#14161a");
      }
    }));
    return { ...trace, textfont: { size: 14, color: colors } };
  };

  const draw = (element) => {
    const figure = figures[element.dataset.figure];
    if (!figure || !window.Plotly) {
      return;
    }
    const style = getComputedStyle(document.documentElement);
    const narrow = element.clientWidth < NARROW;
    const own = themed(figure.layout, style);
    const ink = style.getPropertyValue("--ink").trim();
    const muted = style.getPropertyValue("--muted").trim();
    const line = style.getPropertyValue("--line").trim();
    const axis = { automargin: true, gridcolor: line, ticks: "", fixedrange: true, zeroline: false, tickfont: { color: muted }, linecolor: "rgba(0,0,0,0)" };
    const yaxis = { ...axis, ...own.yaxis };
    if (narrow && yaxis.ticktext) {
      yaxis.ticktext = yaxis.ticktext.map(shortened);
    }
    if (yaxis.ticktext) {
      yaxis.tickfont = { color: ink, size: narrow ? 12 : 13.5 };
    }
    const layout = {
      ...own,
      autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink },
      margin: { l: 8, r: 12, t: 28, b: 8, ...own.margin },
      hovermode: "closest",
      hoverlabel: {
        align: "left",
        bgcolor: style.getPropertyValue("--surface").trim(),
        bordercolor: line,
        font: { color: ink, size: 13 },
      },
      dragmode: false,
      xaxis: { ...axis, ...own.xaxis },
      yaxis,
    };
    const config = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false, showTips: false };
    const data = themed(figure.data, style);
    const texts = data.filter((trace) => trace.type === "heatmap").map(cellTexts);
    if (narrow && layout.legend) {
      layout.legend = { ...layout.legend, font: { size: 12 } };
      layout.height += own.showlegend ? 20 * figure.data.length : 0; // one below the other
    }
    Plotly.react(element, [...data, ...texts], layout, config);
    if (!element.dataset.listens && element.on) {
      element.dataset.listens = "yes";
      element.on("plotly_click", (event) => open(figures[element.dataset.figure], event.points));
    }
  };

  // A cell of a heat map leads to the failures behind it; the texts lie over the cells, and count for them.
  const open = (figure, points) => {
    const meta = figure && figure.layout.meta;
    if (meta && points.length && T.openFailures) {
      const column = figure.data[0].x.indexOf(points[0].x);
      const round = meta.rounds[Math.min(column, meta.rounds.length - 1)];
      T.openFailures({ kind: meta.kind, round, skill: meta.skills[points[0].y] });
    }
  };

  const all = () => document.querySelectorAll("[data-figure]").forEach(draw);

  // What a group of choices shows: the figure of that name, and the words that belong to it.
  const show = (choice) => {
    const chooser = choice.closest("[data-chooses]");
    const element = document.getElementById(chooser.dataset.chooses);
    element.dataset.figure = choice.value;
    draw(element);
    chooser.parentElement.querySelectorAll("[data-legend]").forEach((legend) => {
      legend.hidden = legend.dataset.legend !== choice.value;
    });
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-chooses] input")) {
      show(event.target);
    }
  });

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  let width = innerWidth;
  addEventListener("resize", () => {
    if ((width < NARROW) !== (innerWidth < NARROW)) {
      all();
    }
    width = innerWidth;
  });
  // Paper is light.
  addEventListener("beforeprint", () => { document.documentElement.classList.add("light"); all(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("light"); all(); });

  T.parts.push(async () => {
    figures = JSON.parse(document.getElementById("figures").textContent);
    if (Object.keys(figures).length) {
      await T.plotly();
    }
    document.querySelectorAll("[data-chooses] input:checked").forEach((choice) => {
      document.getElementById(choice.closest("[data-chooses]").dataset.chooses).dataset.figure = choice.value;
    });
    // First what is in sight; the others one by one, each giving the reader a turn.
    const waiting = [...document.querySelectorAll("[data-figure]")];
    waiting.forEach((element) => {
      const figure = figures[element.dataset.figure];
      element.style.minHeight = figure ? `${figure.layout.height}px` : "";
    });
    const inSight = (element) => element.getBoundingClientRect().top < innerHeight && element.getBoundingClientRect().bottom > 0;
    waiting.filter(inSight).forEach(draw);
    performance.mark("tutelage:charts in sight");
    for (const element of waiting.filter((other) => !inSight(other))) {
      await new Promise((next) => setTimeout(next));
      draw(element);
    }
    performance.mark("tutelage:charts");
  });
})(window.Tutelage);
