// Draws the figures of the page's data block in the page's own colours, and again when the reader switches theme.
(() => {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
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
    if (!figure) {
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
      margin: { l: 8, r: 12, t: 28, b: 8 },
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
    Plotly.react(element, [...data, ...texts], layout, config);
  };

  const all = () => document.querySelectorAll("[data-figure]").forEach(draw);

  document.querySelectorAll("input[name=heat]").forEach((choice) => {
    choice.addEventListener("change", () => {
      const element = document.getElementById("heat");
      element.dataset.figure = choice.value;
      draw(element);
      document.querySelectorAll("[data-legend]").forEach((legend) => {
        legend.hidden = legend.dataset.legend !== choice.value;
      });
    });
  });

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  let width = innerWidth;
  addEventListener("resize", () => {
    if ((width < NARROW) !== (innerWidth < NARROW)) {
      all();
    }
    width = innerWidth;
  });
  all();
})();
