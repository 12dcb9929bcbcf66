// What the page's scripts share. Text goes into the page as text nodes and properties only, never as HTML.
((T) => {
  "use strict";

  // Make an element: el("p", { class: "note" }, "text", child). A child that is null or false is left out.
  T.el = (tag, attributes, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "onclick") {
        made.addEventListener("click", value);
      } else if (value !== null && value !== undefined && value !== false) {
        made.setAttribute(name, value === true ? "" : String(value));
      }
    }
    for (const child of children.flat()) {
      if (child !== null && child !== undefined && child !== false) {
        made.append(child instanceof Node ? child : document.createTextNode(String(child)));
      }
    }
    return made;
  };

  // Read a block: gzip in base64, in an element that no browser runs.
  const unpacked = (id) => {
    const text = atob(document.getElementById(id).textContent);
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at += 1) {
      bytes[at] = text.charCodeAt(at);
    }
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
  };
  T.unpack = async (id) => unpacked(id).json();

  // Plotly, once: its text is one of the scripts that the page's policy names by their content.
  let plotly = null;
  T.plotly = () => {
    plotly = plotly || unpacked("plotly").text().then((text) => {
      const script = document.createElement("script");
      script.textContent = text;
      document.head.append(script);
    });
    return plotly;
  };

  T.count = (number) => number.toLocaleString("en-US");
  T.percent = (share) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(0)} %`);
  T.points = (difference) => {
    const rounded = (100 * difference).toFixed(1);
    return Number(rounded) === 0 ? "0.0" : Number(rounded) > 0 ? `+${rounded}` : rounded.replace("-", "−");
  };

  // Parts of the page, which begin one after the other, what is read first before what is drawn; and begin anew when
  // somebody has changed the page's content: who does that dispatches "tutelage:changed" on the document afterwards.
  T.parts = [];
  let going = null;
  let again = false;
  const each = async () => {
    do {
      again = false;
      for (const part of T.parts) {
        try {
          await part();
        } catch (error) {
          const told = document.getElementById("trouble");
          told.textContent = `A part of this page could not be drawn by this browser: ${error.message}`;
          told.hidden = false;
        }
        await new Promise((next) => setTimeout(next)); // so that it is seen
      }
    } while (again);
    going = null;
  };
  T.begin = () => {
    again = going !== null;
    going = going || each();
  };
  document.addEventListener("tutelage:changed", T.begin);
})((window.Tutelage = {}));
