// Checks of a page: the body of a function that looking.py calls in the page with the names of the view ("390 px",
// "paper") and of the colours ("light", "dark"). Returns a line for each fault, the files that the page links to, and its
// own address. With "marks" in place of a view, it marks the pictures for printed.py instead, and returns their names.
const [view, colours] = arguments;
const LEAST_CONTRAST = 4.5;
const LEAST_SIZE = 6; // px of the window
const LEAST_SIZE_DRAWN = 7; // for text of a picture that is shown as a whole
const MOST_STUCK = 0.6; // of the width that a table scrolls in
const WIDE_SCREEN = 1000; // px: here no picture should have to be scrolled
const SHEET = 1047; // px: height of A4 within margins of 1 cm
const faults = [];
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const short = (text) => "“" + text.trim().replace(/\s+/g, " ").replace(/^(.{40}).+$/, "$1…") + "”";
const name = (element) =>
  element.localName + (element.id ? "#" + element.id : [...element.classList].map((part) => "." + part).join(""));
const pictures = all("svg, img, canvas").filter((element) => !element.parentElement.closest("svg"));
const picturesName = (picture) => {
  const said = [picture.ariaLabel, picture.alt, picture.querySelector(":scope > title")?.textContent];
  return [name(picture), ...said.filter((text) => text?.trim()).slice(0, 1).map(short)].join(" ");
};

// For a print that shows nothing but places: each picture is an area in a colour of its own, red and green are its number
// plus 1 in steps of 4, base 64; a strip in half blue is as high as each page within its margins. All other things keep
// their place and are hidden.
if (view === "marks") {
  const set = (element, look) => {
    for (const [key, value] of Object.entries({ ...look, visibility: "visible", "print-color-adjust": "exact" }))
      element.style.setProperty(key, value, "important");
  };
  const visible = pictures.filter((picture) => getComputedStyle(picture).visibility === "visible");
  const style = document.head.appendChild(document.createElement("style"));
  style.textContent = "* { visibility: hidden !important }";
  visible.forEach((picture, index) => {
    const [red, green] = [Math.floor((index + 1) / 64), (index + 1) % 64].map((digit) => 4 * digit);
    const bare = { "border-color": "transparent", "box-shadow": "none", "object-position": "99999px" };
    set(picture, { ...bare, background: `rgb(${red} ${green} 0)` });
  });
  const strip = document.documentElement.appendChild(document.createElement("div"));
  const place = { position: "fixed", inset: "0 auto 0 0", width: "4px", "z-index": "2147483647" };
  set(strip, { all: "initial", ...place, background: "rgb(0 0 128)" });
  return visible.map(picturesName);
}
all("details").forEach((element) => (element.open = true));
all("[loading=lazy]").forEach((element) => (element.loading = "eager"));

// The head, and the order of things.
if (!document.documentElement.lang.trim()) faults.push("the page has no lang");
if (!document.title.trim()) faults.push("the page has no title");
const viewport = document.querySelector("meta[name=viewport]")?.content ?? "";
if (!viewport.includes("width=device-width")) faults.push("the page has no meta viewport with width=device-width");
let before = 0;
for (const heading of all("h1, h2, h3, h4, h5, h6").filter((element) => element.checkVisibility())) {
  const level = Number(heading.localName[1]);
  if (level > before + 1) faults.push(`${name(heading)} ${short(heading.textContent)} comes after level ${before}`);
  before = level;
}
for (const table of all("table:not([role=presentation], [role=none])")) {
  const said = `${name(table)} ${short(table.textContent)}`;
  if (!table.caption?.textContent.trim()) faults.push(`${said} has no caption`);
  if (!table.querySelector("th")) faults.push(`${said} has no th`);
}

// Names: of pictures, of places, and what points to them.
const ids = all("[id]").map((element) => element.id);
const again = [...new Set(ids.filter((id, index) => ids.indexOf(id) !== index))];
if (again.length)
  faults.push(`id ${again[0]} is there more than once${again.length > 1 ? `, and ${again.length - 1} more ids` : ""}`);
const labels = (element) => (element.getAttribute("aria-labelledby") ?? "").split(/\s+/).filter(Boolean);
const HIDDEN = "[aria-hidden=true], [role=presentation], [role=none]";
for (const picture of all("img, svg, canvas, [role=img]")) {
  if (picture.closest(HIDDEN) || picture.parentElement.closest("svg, [role=img]")) continue;
  const texts = labels(picture).map((id) => document.getElementById(id)?.textContent);
  texts.push(picture.ariaLabel, picture.querySelector(":scope > title")?.textContent);
  const decorative = picture.localName === "img" && picture.getAttribute("alt") === "";
  if (!decorative && ![...texts, picture.alt].some((text) => text?.trim()))
    faults.push(`${name(picture)} ${short(picture.outerHTML)} has no alternative text`);
}
const here = location.href.split("#")[0];
const places = new Set([...ids, ...all("a[name]").map((element) => element.name), "", "top"]);
const files = [];
for (const link of all("a[href], use[href]")) {
  const url = new URL(link.href.baseVal ?? link.href, document.baseURI); // baseVal: in an svg
  const place = decodeURIComponent(url.hash.slice(1));
  url.hash = "";
  if (url.href === here && !places.has(place)) faults.push(`a link goes to #${place}, which is not there`);
  if (url.href !== here && url.protocol === "file:") files.push(decodeURIComponent(url.pathname));
}
for (const attribute of ["aria-labelledby", "aria-describedby", "aria-controls", "for", "headers"])
  for (const element of all(`[${attribute}]`))
    for (const id of element.getAttribute(attribute).split(/\s+/).filter((id) => id && !places.has(id)))
      faults.push(`${name(element)} names #${id} in ${attribute}, which is not there`);
for (const link of all("link[rel~=preconnect], link[rel~=dns-prefetch]"))
  faults.push(`${name(link)} asks for a connection to ${link.href}`);

// Space: content wider than the window, content that paper cannot show by scrolling, and text that a figure cuts off.
const right = (element) => element.getBoundingClientRect().right + scrollX;
const confines = (element) => getComputedStyle(element).overflowX !== "visible";
const scrollerOf = (element) => {
  for (let box = element.parentElement; box && box !== document.body; box = box.parentElement)
    if (confines(box)) return box;
  return null;
};
const confined = (element) => scrollerOf(element) !== null;
const scrolls = (box) => box !== null && box.scrollWidth > box.clientWidth + 1;
const contentOf = (element) => {
  const [box, style] = [element.getBoundingClientRect(), getComputedStyle(element)];
  const edge = (side) => parseFloat(style[`border${side}Width`]) + parseFloat(style[`padding${side}`]);
  const [left, top] = [box.left + edge("Left"), box.top + edge("Top")];
  return { left, top, right: box.right - edge("Right"), bottom: box.bottom - edge("Bottom") };
};
const shown = (element) => {
  if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) return false;
  for (let box = element; box; box = box.parentElement) {
    const { width, height } = box.getBoundingClientRect();
    if (width <= 1 && height <= 1 && confines(box)) return false; // for screen readers only
  }
  return true;
};
const needed = Math.max(document.scrollingElement.scrollWidth, document.body.scrollWidth);
if (needed > innerWidth) {
  const wide = all("body *").filter((element) => right(element) > innerWidth + 0.5 && !confined(element));
  const widest = wide.sort((a, b) => right(a) - right(b)).at(-1) ?? document.body;
  faults.push(`${view}: the page is ${needed} px wide; ${name(widest)} ${short(widest.textContent)} is the widest`);
}
if (view === "paper")
  for (const box of all("body *").filter((element) => confines(element) && shown(element)))
    if (box.clientWidth && box.scrollWidth > box.clientWidth + 1)
      faults.push(`${view}: ${name(box)} ${short(box.textContent)} shows ${box.clientWidth} of ${box.scrollWidth} px`);
for (const text of all("svg text").filter((element) => element.textContent.trim() && shown(element))) {
  const [inner, outer] = [text.getBoundingClientRect(), contentOf(text.ownerSVGElement)];
  const rows = inner.height / 4; // a line's box is taller than its letters
  const beside = Math.max(outer.left - inner.left, inner.right - outer.right) > 1;
  const above = Math.max(outer.top - inner.top, inner.bottom - outer.bottom) > rows;
  const does = confines(text.ownerSVGElement) ? "cuts off" : "draws outside its box";
  if (beside || above) faults.push(`${view}: ${name(text.ownerSVGElement)} ${does} its text ${short(text.textContent)}`);
}

// Tables that scroll: without scrolling, each row shows its first cell of data, and what stays in place leaves room.
if (view !== "paper")
  for (const table of all("table:not([role=presentation], [role=none])").filter(shown)) {
    const scroller = scrollerOf(table);
    const said = `${view}: ${name(table)} ${short(table.caption?.textContent || table.textContent)}`;
    for (let box = scroller; box; box = scrollerOf(box)) box.scrollLeft = 0;
    const rows = [...table.rows].map((row) => [...row.cells].filter((cell) => cell.checkVisibility()));
    const data = (cell) => cell.localName === "td" && cell.textContent.trim();
    const visible = (cell) => {
      const { left, right } = contentOf(cell);
      let [from, to] = [Math.max(left, 0), Math.min(right, innerWidth)];
      for (let box = scroller; box; box = scrollerOf(box)) {
        const start = box.getBoundingClientRect().left + box.clientLeft;
        [from, to] = [Math.max(from, start), Math.min(to, start + box.clientWidth)];
      }
      return { seen: Math.max(0, to - from), width: right - left };
    };
    const first = rows.map((cells) => cells.find(data)).filter(Boolean).map(visible);
    const worst = first.filter(({ seen, width }) => seen < width - 1).sort((a, b) => a.seen - b.seen)[0];
    if (worst) {
      const [seen, width] = [worst.seen, worst.width].map(Math.round);
      faults.push(`${said} shows ${seen} of ${width} px of its first column of data`);
    }
    if (!scrolls(scroller)) continue;
    const stays = (cell) => getComputedStyle(cell).position === "sticky" && getComputedStyle(cell).left !== "auto";
    const stuck = rows.filter((cells) => cells.some(data)).map((cells) => cells.filter(stays));
    const widths = stuck.map((cells) => cells.reduce((sum, cell) => sum + cell.getBoundingClientRect().width, 0));
    const part = Math.max(0, ...widths) / scroller.clientWidth;
    if (part > MOST_STUCK)
      faults.push(`${said} has sticky cells over ${Math.round(100 * part)} % of the ${scroller.clientWidth} px that it scrolls in`);
  }

// Contrast: colours are [red, green, blue, alpha], 0 to 1, and lie over each other as they are painted.
const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const read = new Map();
const colour = (css) => {
  if (!read.has(css)) {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = css;
    pixel.fillRect(0, 0, 1, 1);
    read.set(css, [...pixel.getImageData(0, 0, 1, 1).data].map((value) => value / 255));
  }
  return read.get(css);
};
const over = ([red, green, blue, alpha], below, opacity = 1) => {
  const part = alpha * opacity;
  return [...[red, green, blue].map((value, index) => part * value + (1 - part) * below[index]), 1];
};
const luminance = (rgb) => {
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const [red, green, blue] = rgb.map((value) => linear(value / 255));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};
const bytes = (rgb) => rgb.slice(0, 3).map((value) => Math.round(255 * value));
const hex = (rgb) => "#" + rgb.map((value) => value.toString(16).padStart(2, "0")).join("");
const probe = document.documentElement.appendChild(document.createElement("div"));
probe.style.cssText = "all: initial; color-scheme: inherit; background: Canvas";
const canvas = colour(getComputedStyle(probe).backgroundColor);
probe.remove();

// Ink and ground of a text as painted on `below`; null where a picture, a gradient or a filter makes them unknown.
const painted = ([element, ...inside], below, ink) => {
  const style = getComputedStyle(element);
  const own = over(colour(style.backgroundColor), below);
  if (style.backgroundImage !== "none" || style.filter !== "none" || style.mixBlendMode !== "normal") return null;
  const result = inside.length ? painted(inside, own, ink) : ink(own);
  return result && result.map((rgb) => over(rgb, below, Number(style.opacity)));
};
const chain = (element) => (element ? [...chain(element.parentElement), element] : []);
const opacity = (element, root) =>
  element === root ? 1 : Number(getComputedStyle(element).opacity) * opacity(element.parentElement, root);
const paint = (style, kind) => {
  if (style[kind] === "none") return [0, 0, 0, 0];
  const [red, green, blue, alpha] = colour(style[kind]);
  return style[kind].startsWith("url(") ? null : [red, green, blue, alpha * Number(style[`${kind}Opacity`])];
};

// The shapes of a figure, as they are painted and clipped; a line thinner than letters is no ground.
const SHAPES = "rect, path, circle, ellipse, polygon, polyline, line, image";
const shapes = new Map();
const clipsOf = (element, root) => {
  if (element === root) return [];
  const id = getComputedStyle(element).clipPath.match(/^url\("#(.+)"\)$/)?.[1];
  const parts = id ? [...(document.getElementById(id)?.children ?? [])] : [];
  const clips = clipsOf(element.parentElement, root);
  return parts.length ? [...clips, { inverse: element.getScreenCTM().inverse(), parts }] : clips;
};
const shapesOf = (root) => {
  const painting = (shape) => {
    const style = getComputedStyle(shape);
    const matrix = shape.getScreenCTM();
    const thickness = style.stroke === "none" ? 0 : parseFloat(style.strokeWidth) * Math.hypot(matrix.a, matrix.b);
    const place = { area: shape.getBoundingClientRect(), inverse: matrix.inverse(), clips: clipsOf(shape, root) };
    const look = { thickness, fill: paint(style, "fill"), stroke: paint(style, "stroke"), part: opacity(shape, root) };
    return { shape, ...place, ...look };
  };
  const visible = (shape) => shape.checkVisibility({ visibilityProperty: true }); // what only others use is not
  if (!shapes.has(root)) shapes.set(root, all(SHAPES, root).filter(visible).map(painting));
  return shapes.get(root);
};
const layersAt = (place, { shape, area, inverse, clips, thickness, fill, stroke }, height) => {
  const edge = thickness / 2;
  if (place.x < area.left - edge || place.x > area.right + edge) return [];
  if (place.y < area.top - edge || place.y > area.bottom + edge) return [];
  const within = ({ inverse, parts }) => parts.some((part) => part.isPointInFill(place.matrixTransform(inverse)));
  if (!clips.every(within)) return [];
  if (shape.localName === "image") return [null];
  const local = place.matrixTransform(inverse);
  const layers = shape.isPointInFill(local) ? [fill] : [];
  return thickness > height / 2 && shape.isPointInStroke(local) ? [...layers, stroke] : layers;
};

// Pictures: what they draw is within their box, and their box within the column or the sheet.
const SIDES = ["left", "top", "right", "bottom"];
const common = (one, other) => ({
  left: Math.max(one.left, other.left),
  top: Math.max(one.top, other.top),
  right: Math.min(one.right, other.right),
  bottom: Math.min(one.bottom, other.bottom),
});
const beyond = (part, box) => {
  const by = [box.left - part.left, box.top - part.top, part.right - box.right, part.bottom - box.bottom];
  return by.map((px, index) => ({ px, side: SIDES[index] })).sort((a, b) => b.px - a.px)[0];
};
const clipBox = ({ inverse, parts }) => {
  const places = parts.flatMap((part) => {
    const { x, y, width, height } = part.getBBox();
    const { transform } = getComputedStyle(part);
    const matrix = DOMMatrix.fromMatrix(inverse.inverse()).multiply(new DOMMatrix(transform === "none" ? "" : transform));
    const corners = [x, x + width].flatMap((left) => [y, y + height].map((top) => new DOMPoint(left, top)));
    return corners.map((corner) => corner.matrixTransform(matrix));
  });
  const [xs, ys] = [places.map((place) => place.x), places.map((place) => place.y)];
  return { left: Math.min(...xs), top: Math.min(...ys), right: Math.max(...xs), bottom: Math.max(...ys) };
};
const seen = (layer, part) => layer === null || layer[3] * part > 0;
// How far a shape is drawn beyond a box, without the half of its line that lies outside; that half is found by trying
// places 1 px outside the box.
const excess = (painting, box) => {
  const { area, clips, thickness, fill, stroke, part } = painting;
  if (!seen(fill, part) && !(thickness && seen(stroke, part))) return null;
  const within = (place) => clips.map(clipBox).reduce(common, place);
  const drawn = within(area);
  const nothing = !area.width && !area.height; // as of a shape in defs
  if (nothing || drawn.left > drawn.right || drawn.top > drawn.bottom) return null;
  const over = beyond(drawn, box);
  if (over.px > 1 || !thickness || !seen(stroke, part)) return over.px > 1 ? over : null;
  const [grown, edge] = [{}, 2 * thickness]; // a pointed corner is longer than half the line
  for (const side of SIDES) grown[side] = area[side] + (side === "left" || side === "top" ? -edge : edge);
  const near = within(grown);
  for (const [index, side] of SIDES.entries()) {
    const outside = box[side] + (index < 2 ? -1.01 : 1.01);
    if (index < 2 ? near[side] > outside : near[side] < outside) continue;
    const [from, to] = index % 2 ? [near.left, near.right] : [near.top, near.bottom];
    for (let along = from; along <= to; along += 0.5) {
      const place = index % 2 ? new DOMPoint(along, outside) : new DOMPoint(outside, along);
      if (layersAt(place, { ...painting, area: grown }, 0).length) return { px: 1, side };
    }
  }
  return null;
};
const usesOf = (root) => {
  const uses = all("use", root).filter((use) => use.checkVisibility({ visibilityProperty: true }));
  const known = { thickness: 0, fill: null, stroke: null, part: 1 };
  return uses.map((use) => ({ shape: use, area: use.getBoundingClientRect(), clips: clipsOf(use, root), ...known }));
};
for (const picture of pictures.filter(shown)) {
  const said = `${view}: ${picturesName(picture)}`;
  const box = contentOf(picture);
  const [width, height] = [box.right - box.left, box.bottom - box.top];
  if (picture.localName === "svg") {
    const paintings = [...shapesOf(picture), ...usesOf(picture)].filter(({ shape }) => shape.ownerSVGElement === picture);
    const cut = paintings.map((painting) => ({ ...excess(painting, box), shape: painting.shape }));
    const [worst, ...more] = cut.filter(({ px }) => px).sort((a, b) => b.px - a.px);
    const does = confines(picture) ? "cuts off" : "draws outside its box";
    const by = worst && (worst.px > 1 ? `${Math.round(worst.px)} px` : "more than 1 px");
    const others = more.length ? ` and of ${more.length} more` : "";
    if (worst) faults.push(`${said} ${does} ${by} of its ${worst.shape.localName} at the ${worst.side}${others}`);
  }
  if (picture.localName === "img" && picture.naturalWidth) {
    const fit = getComputedStyle(picture).objectFit;
    const [across, down] = [width / picture.naturalWidth, height / picture.naturalHeight];
    const scale = { none: 1, cover: Math.max(across, down) }[fit] ?? Math.min(across, down);
    const px = Math.max(scale * picture.naturalWidth - width, scale * picture.naturalHeight - height);
    if (px > 1) faults.push(`${said} cuts off ${Math.round(px)} px of its picture`);
  }
  const scroller = scrollerOf(picture);
  const whole = picture.getBoundingClientRect();
  if (view !== "paper" && innerWidth >= WIDE_SCREEN && scroller) {
    const column = contentOf(scroller);
    const [needs, has] = [whole.width, column.right - column.left].map(Math.round);
    if (needs > has + 1) faults.push(`${said} is ${needs} px wide in a column of ${has} px`);
  }
  if (view === "paper" && whole.height > SHEET) faults.push(`${said} is higher than a page`);
}

// The worst of three places of a text in a figure, with what lies below it and what lies over it.
const drawn = (text, ground) => {
  const style = getComputedStyle(text);
  const part = opacity(text, text.ownerSVGElement);
  const [inside, edge] = [paint(style, "fill"), paint(style, "stroke")];
  if (!inside || !edge) return null;
  const write = (below) => {
    const halo = style.paintOrder.startsWith("stroke") ? over(edge, below, part) : below;
    return [over(style.fill === "none" ? edge : inside, halo, part), halo];
  };
  const box = text.getBoundingClientRect();
  const results = [0.1, 0.5, 0.9].map((share) => {
    const place = new DOMPoint(box.left + share * box.width, box.top + box.height / 2);
    let [below, written] = [ground, null];
    for (const painting of shapesOf(text.ownerSVGElement)) {
      if (painting.shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_PRECEDING) written ??= write(below);
      for (const layer of layersAt(place, painting, box.height)) {
        if (!layer) return null;
        if (written) written = written.map((rgb) => over(layer, rgb, painting.part));
        else below = over(layer, below, painting.part);
      }
    }
    return written ?? write(below);
  });
  const ratio = (pair) => contrast(...pair.map(bytes));
  return results.includes(null) ? null : results.sort((a, b) => ratio(a) - ratio(b))[0];
};

// Every text: for its contrast a line for each pair of colours, or in a figure for each ink, and one for all that is
// too small; the worst stands for the others.
const weak = new Map();
const add = (key, value, said) => weak.set(key, [...(weak.get(key) ?? []), { value, said }]);
const figures = all("svg");
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  const range = document.createRange();
  range.selectNodeContents(texts.currentNode);
  if (!texts.currentNode.data.trim() || !range.getClientRects().length || !shown(element)) continue;
  const where = `${short(texts.currentNode.data)} in ${name(element)}`;
  const figure = element instanceof SVGElement ? element.ownerSVGElement : null;
  const scale = figure ? Math.hypot(element.getScreenCTM().a, element.getScreenCTM().b) : 1;
  const size = scale * parseFloat(getComputedStyle(element).fontSize);
  const whole = figure && view !== "paper" && !scrolls(scrollerOf(figure));
  if (size < (whole ? LEAST_SIZE_DRAWN : LEAST_SIZE)) add("size", size, `${view}: text of ${size.toFixed(1)} px: ${where}`);
  const ink = (own) => (figure ? drawn(element, own) : [over(colour(getComputedStyle(element).color), own), own]);
  const result = painted(chain(figure ?? element), canvas, ink)?.map(bytes);
  const ratio = result ? contrast(...result) : 0;
  if (ratio >= LEAST_CONTRAST) continue;
  const pair = result ? result.map(hex).join(" on ") : "unknown, for a picture, gradient or filter";
  const what = result ? `${(Math.floor(100 * ratio) / 100).toFixed(2)}, ${pair}` : pair;
  const key = result && figure ? `${hex(result[0])} in ${figures.indexOf(figure)}` : pair;
  add(key, ratio, `${view === "paper" ? view : colours}: contrast ${what}: ${where}`);
}
for (const found of weak.values()) {
  const [worst, ...more] = found.sort((a, b) => a.value - b.value);
  faults.push(`${worst.said}${more.length ? ` and ${more.length} more` : ""}`);
}
return [faults, files, here];
