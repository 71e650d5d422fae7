/*
 * draw.js - what moves in the page that `platmap draw` makes.
 *
 * The page is complete without this. All that is known here of the maps is read out of its tables:
 * the data-at of a row has its height on the even scale, that on the linear one, its rank among
 * those that want a label, and the worst finding. Heights are in units; a window of the even scale,
 * `view`, is what the picture shows. Whatever changes, the picture is drawn anew, as
 * draw_picture.c drew it first.
 */
"use strict";

(() => {
    const $ = (id) => document.getElementById(id);
    const svg = $("picture");
    const figure = $("map");
    const tip = $("tip");
    const PRINTED = Number(svg.dataset.pixels);     // height of the scales, as the page comes
    const HEIGHT = PRINTED * Number(svg.dataset.unit);
    const WIDTH = Number(svg.getAttribute("width"));
    const TOP = 16;
    const THIN = 0.75;          // pixels; less is merged with its neighbours
    const LABEL_HEIGHT = 14;
    const MARK_HEIGHT = 11;
    const CLOSEST = HEIGHT / 1e5;   // the smallest window
    const COMPACT = 560;        // width of a picture without room for addresses in labels

    /* ---- what is in the page ---------------------------------------------------------------- */

    const maps = [];

    function addItem(k, at, use, row, source) {
        const map = maps[k] ??= { k, items: [], ranked: [] };
        const [top, lineTop, rank, mark] = at.split(" ", 4).map(Number);
        const item = { map, n: map.items.length, use, top, lineTop, rank, mark, row, source, notes: [] };
        map.items.push(item);
        map.ranked[rank] = item;
    }

    /* Rows of a table; or, of very many regions, lines of text in blocks. */
    for (const source of document.querySelectorAll(".regions")) {
        const k = Number(source.dataset.map);
        if (source.tagName === "TABLE") {
            for (const row of source.tBodies[0].rows) {
                addItem(k, row.dataset.at, row.className, row, source);
            }
        } else {
            const lines = source.textContent.split("\n");
            source.dataset.at.split(";").forEach((at, n) => {
                addItem(k, at, at.slice(at.lastIndexOf(" ") + 1), lines[n], source);
            });
        }
    }
    for (const { items } of maps) {
        items.forEach((item, n) => {
            item.end = items[n + 1]?.top ?? HEIGHT;
            item.lineEnd = items[n + 1]?.lineTop ?? HEIGHT;
        });
    }
    const last = maps[maps.length - 1];

    /* By what the page calls it: "a12". */
    const itemOf = (id) => maps[(id ?? "").charCodeAt(0) - 97]?.items[id.slice(1)];

    const isLine = (item) => typeof item.row === "string";
    const whole = (item) => isLine(item) ? item.row : item.row.textContent;
    const text = (item, column) =>
        (isLine(item) ? item.row.split(/ {2,}/)[column] : item.row.cells[column]?.textContent) ?? "";
    const base = (item) => BigInt(text(item, 0));
    const end = (item) => BigInt(text(item, 1));
    const name = (item) => text(item, 4) || text(item, 3);

    const marks = [];
    for (const row of document.querySelectorAll("table.marks tbody tr")) {
        const item = itemOf(row.querySelector("a")?.dataset.item);
        if (item) {
            item.notes.push(`${row.cells[0].textContent} at ${row.cells[1].textContent}`);
            marks.push({ at: Number(row.dataset.at), map: item.map, title: row.cells[0].textContent });
        }
    }
    for (const link of document.querySelectorAll(".findings a")) {
        itemOf(link.dataset.item)?.notes.push(link.textContent);
    }

    const span = (words) => words?.split(" ").map(Number);
    const changes = [...document.querySelectorAll("#changes li")].map((li, rank) => {
        const from = span(li.dataset.from);
        const to = span(li.dataset.to);
        const middle = (s) => [(s[0] + s[1]) / 2, (s[0] + s[1]) / 2];
        return { li, rank, from, to, importance: li.className,
                 words: [li.dataset.base, "", li.dataset.label],
                 left: from ?? (to && middle(to)), right: to ?? (from && middle(from)) };
    }).filter((c) => c.left);

    /* ---- state ------------------------------------------------------------------------------ */

    let view = { from: 0, to: HEIGHT };
    let chosen = null;      // an item
    let change = null;      // a change, if that is what was chosen
    const hidden = new Set();

    /* ---- geometry ---------------------------------------------------------------------------- */

    const bands = svg.querySelector(".bands");
    const columns = [...svg.querySelectorAll(".column")];
    const fixed = {
        bars: Number(bands.dataset.from),
        barsWidth: Number(svg.querySelector(".overview rect").getAttribute("width")),
        columns: columns.map((g) => Number(g.dataset.x)),
        width: Number(columns[0].querySelector("rect").getAttribute("width")),
        digits: text(last.items.at(-1), 0).length,  // of the longest address
    };

    /* Left edges of columns and what is beside them, for a picture `width` wide. Where there is little
       room, labels are names alone, and beside two maps there are none. */
    function geometry(width) {
        const isTwo = maps.length > 1;
        const compact = width < (isTwo ? COMPACT + 100 : COMPACT);
        const column = compact ? fixed.width * 0.6 : fixed.width;
        const first = compact ? fixed.bars + 26 : fixed.columns[0];
        const step = !isTwo ? 0
            : compact ? width - first - column - 30 : fixed.columns[1] - fixed.columns[0];
        const right = first + step + column;
        return { width, compact, column, lefts: fixed.columns.map((_, k) => first + k * step), right,
                 hasLabels: !compact || !isTwo,
                 finding: right + (compact ? 8 : 11), mark: right + (compact ? 17 : 24),
                 bend: right + (compact ? 22 : 32), label: right + (compact ? 34 : 52),
                 size: (isTwo ? 0 : 78) + 6.9 * fixed.digits };
    }

    let place = geometry(WIDTH);
    let pixels = PRINTED;       // height of the scales, as there is room

    const scale = () => pixels / (view.to - view.from);
    const line = (v) => TOP + v / HEIGHT * pixels;      // of the linear scale
    const y = (v) => TOP + (v - view.from) * scale();
    const clamp = (v, low, high) => Math.min(Math.max(v, low), high);

    /* The first of `items`, in order, whose `key` is above `v`; the last if there is none. */
    function search(items, key, v) {
        let low = 0;
        let high = items.length - 1;
        while (low < high) {
            const middle = (low + high) >> 1;
            if (items[middle][key] > v) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        return items[low];
    }

    /* From one scale to the other, and back. */
    function toLine(v) {
        const i = search(maps[0].items, "end", v);
        const part = clamp((v - i.top) / (i.end - i.top || 1), 0, 1);
        return i.lineTop + part * (i.lineEnd - i.lineTop);
    }

    function fromLine(v) {
        const i = search(maps[0].items, "lineEnd", v);
        const part = clamp((v - i.lineTop) / (i.lineEnd - i.lineTop || 1), 0, 1);
        return i.top + part * (i.end - i.top);
    }

    /* ---- drawing ----------------------------------------------------------------------------- */

    function shape(tag, attributes, ...children) {
        const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
        for (const [key, value] of Object.entries(attributes)) {
            e.setAttribute(key, typeof value === "number" ? value.toFixed(2) : value);
        }
        e.append(...children);
        return e;
    }

    /* What of `map` is in view, with what is too thin to be seen merged into one. */
    function runs(map) {
        const found = [];
        const { items } = map;
        const per = scale();
        let n = search(items, "end", view.from).n;
        while (n < items.length && items[n].top < view.to) {
            const run = { first: items[n], last: items[n], most: items[n] };
            const heights = {};
            do {
                const item = items[n];
                if (item !== run.first && (item.end - item.top) * per >= THIN) {
                    break;
                }
                heights[item.use] = (heights[item.use] ?? 0) + item.end - item.top;
                if (item.use === run.most.use || run.most.use === "hole" ||
                    (item.use !== "hole" && heights[item.use] > heights[run.most.use])) {
                    run.most = item;
                }
                run.last = item;
                n++;
            } while (n < items.length && (run.last.end - run.first.top) * per < THIN);
            run.top = Math.max(run.first.top, view.from);
            run.end = Math.min(run.last.end, view.to);
            found.push(run);
        }
        return found;
    }

    function drawColumn(g, map, found) {
        g.replaceChildren(...found.map((run) => {
            const height = (run.end - run.top) * scale();
            return shape("rect", { class: run.most.use, x: place.lefts[map.k], y: y(run.top),
                                   width: place.column, height: height >= 2 ? height - 0.5 : height });
        }));
    }

    function band(x0, left, x1, right) {
        const middle = (x0 + x1) / 2;
        const p = (...numbers) => numbers.map((v) => v.toFixed(2)).join(" ");
        return `M${p(x0, left[0])}C${p(middle, left[0], middle, right[0], x1, right[0])}` +
               `L${p(x1, right[1])}C${p(middle, right[1], middle, left[1], x0, left[1])}Z`;
    }

    function drawBands(found) {
        bands.replaceChildren(...found.filter((run) => run.most.use !== "hole").map((run) => {
            const left = [toLine(run.top), run.last.end > run.end ? toLine(run.end) : run.last.lineEnd];
            return shape("path", { class: run.most.use,
                                   d: band(fixed.bars, left.map(line),
                                           place.lefts[0], [y(run.top), y(run.end)]) });
        }));
    }

    function drawChanges() {
        svg.querySelector(".changes")?.replaceChildren(...changes.toReversed().map((c) =>
            shape("path", { class: c.importance + (c === change ? " chosen" : ""),
                            "data-change": String(c.rank),
                            d: band(place.lefts[0] + place.column + 1, c.left.map(y),
                                    place.lefts[1] - 1, c.right.map(y)) },
                  shape("title", {}, c.li.textContent))));
    }

    /* Those in view that come first: what is chosen, changes, then regions by rank. */
    function chooseLabels() {
        const room = place.hasLabels ? Math.floor(pixels / LABEL_HEIGHT) : 0;
        const labels = [];
        const add = (s, what) => {
            if (s[1] >= view.from && s[0] <= view.to && labels.length < room) {
                const middle = (Math.max(s[0], view.from) + Math.min(s[1], view.to)) / 2;
                labels.push({ at: (middle - view.from) * scale(), rank: labels.length, ...what });
            }
        };
        if (chosen?.map === last) {
            add([chosen.top, chosen.end], { item: chosen });
        }
        for (const c of changes) {
            add(c.right, { change: c });
        }
        for (const item of last.ranked) {
            if (labels.length === room) {
                break;
            }
            if (item !== chosen && !hidden.has(item.use) && item.end > view.from && item.top < view.to) {
                add([item.top, item.end], { item });
            }
        }
        labels.sort((a, b) => a.at - b.at || a.rank - b.rank);
        labels.forEach((l, n) => {
            l.y = Math.max(l.at, n > 0 ? labels[n - 1].y + LABEL_HEIGHT : LABEL_HEIGHT / 2);
        });
        for (let n = labels.length - 1; n >= 0; n--) {
            labels[n].y = Math.min(labels[n].y, n + 1 < labels.length ? labels[n + 1].y - LABEL_HEIGHT
                                                                       : pixels - LABEL_HEIGHT / 2);
        }
        return labels;
    }

    function labelText(l) {
        const x = place.label;
        const [address, size, what] = l.change ? l.change.words
            : [text(l.item, 0), text(l.item, 2), name(l.item)];
        const kind = l.change ? "change" : l.item.use === "hole" ? "hole" : "region";
        const isChosen = l.change ? l.change === change : l.item === chosen;
        const parts = place.compact ? [shape("tspan", { x }, what)]
            : [shape("tspan", { class: "address", x }, address),
               ...maps.length > 1 ? [] : [shape("tspan", { class: "size", x: x + place.size }, size)],
               shape("tspan", { x: x + place.size + 12 }, what)];
        return shape("text", { class: kind + (isChosen ? " chosen" : ""), y: TOP + 4 + l.y }, ...parts);
    }

    function drawLabels() {
        svg.querySelector(".labels").replaceChildren(...chooseLabels().flatMap((l) => {
            const p = (v) => v.toFixed(2);
            return [
                shape("path", { class: "leader", d: `M${p(place.right + 1)} ${p(TOP + l.at)}` +
                                                    `H${p(place.bend)}L${p(place.label - 9)} ${p(TOP + l.y)}` }),
                shape("rect", { class: l.item?.use ?? l.change.importance, x: place.label - 8,
                                y: TOP + l.y - 4, width: 3, height: 8 }),
                labelText(l),
            ];
        }));
    }

    function drawMarks() {
        const worst = [];       // of those that would lie on top of each other
        for (const item of last.items) {
            if (item.mark > 0 && item.end > view.from && item.top < view.to) {
                const at = y((Math.max(item.top, view.from) + Math.min(item.end, view.to)) / 2);
                const before = worst.at(-1);
                if (!before || at - before.first >= MARK_HEIGHT) {
                    worst.push({ first: at, at, mark: item.mark });
                } else if (item.mark > before.mark) {
                    Object.assign(before, { at, mark: item.mark });
                }
            }
        }
        svg.querySelector(".findings").replaceChildren(...worst.map((w) =>
            shape("use", { href: `#s${w.mark - 1}`, x: place.finding, y: w.at })));
        svg.querySelector(".marks").replaceChildren(...marks
            .filter((m) => m.map === last && m.at >= view.from && m.at <= view.to)
            .map((m) => shape("use", { href: "#mark", x: place.mark, y: y(m.at) },
                              shape("title", {}, m.title))));
    }

    /* Around what is chosen, and on the linear scale around what is in view. */
    function drawFrames() {
        const frames = [];
        const isWhole = view.from === 0 && view.to === HEIGHT;
        if (!isWhole) {
            const from = line(toLine(view.from));
            frames.push(shape("rect", { class: "frame", x: fixed.bars - fixed.barsWidth - 3,
                                        y: from - 1, width: fixed.barsWidth + 6,
                                        height: line(toLine(view.to)) - from + 2 }));
        }
        if (chosen && chosen.end > view.from && chosen.top < view.to) {
            const top = y(Math.max(chosen.top, view.from));
            frames.push(shape("rect", { class: "chosen-item", x: place.lefts[chosen.map.k] - 2, y: top - 1,
                                        width: place.column + 4,
                                        height: y(Math.min(chosen.end, view.to)) - top + 2 }));
        }
        figure.classList.toggle("zoomed", !isWhole);
        overlay.replaceChildren(...frames);
    }

    const overlay = svg.appendChild(shape("g", { class: "frames" }));

    /* The linear scale is never drawn anew, only stretched. */
    const stretched = [...svg.querySelectorAll(".overview *")].map((e) => {
        const tag = e.tagName;
        const down = tag === "text" ? 4 : 0;
        const [, before, at, behind] = tag === "path" ? /^(M\S+ )([\d.]+)(.*)$/.exec(e.getAttribute("d")) : [];
        const top = Number(at ?? e.getAttribute("y")) - TOP - down;
        const height = Number(e.getAttribute("height"));
        return (by) => {
            const now = (TOP + down + top * by).toFixed(2);
            if (tag === "path") {
                e.setAttribute("d", before + now + behind);
            } else {
                e.setAttribute("y", now);
            }
            if (tag === "rect") {
                e.setAttribute("height", (height * by).toFixed(2));
            }
        };
    });

    function resize(width, height) {
        place = geometry(width);
        if (height !== pixels) {
            pixels = height;
            stretched.forEach((stretch) => stretch(pixels / PRINTED));
        }
        svg.setAttribute("viewBox", `0 0 ${width} ${pixels + 2 * TOP}`);
        svg.setAttribute("width", width);
        svg.setAttribute("height", pixels + 2 * TOP);
    }

    /* As wide as there is room, and as high as fits below what is above. */
    function fit() {
        const above = figure.getBoundingClientRect().top + window.scrollY;
        resize(Math.max(figure.clientWidth, 300),
               clamp(window.innerHeight - above - 2 * TOP - 34, 480, 1100));
    }

    function draw() {
        maps.forEach((map, k) => {
            const found = runs(map);
            drawColumn(columns[k], map, found);
            if (k === 0) {
                drawBands(found);
            }
        });
        svg.querySelectorAll(".letters text").forEach((letter, k) => {
            letter.setAttribute("x", place.lefts[k] + place.column / 2);
        });
        drawChanges();
        drawLabels();
        drawMarks();
        drawFrames();
    }

    let isDue = false;
    let isPrinting = false;
    function redraw() {
        if (!isDue && !isPrinting) {
            isDue = true;
            requestAnimationFrame(() => {
                isDue = false;
                if (!isPrinting) {
                    fit();
                    draw();
                }
            });
        }
    }

    /* ---- the window -------------------------------------------------------------------------- */

    function show(from, to) {
        const height = clamp(to - from, CLOSEST, HEIGHT);
        const top = clamp((from + to - height) / 2, 0, HEIGHT - height);
        view = { from: top, to: top + height };
        redraw();
    }

    /* What is at `centre` stays where it is. */
    function zoom(factor, centre) {
        const c = centre ?? clamp(chosen ? (chosen.top + chosen.end) / 2 : NaN, view.from, view.to);
        const at = Number.isNaN(c) ? (view.from + view.to) / 2 : c;
        const height = clamp((view.to - view.from) / factor, CLOSEST, HEIGHT);
        const part = (at - view.from) / (view.to - view.from);
        show(at - part * height, at + (1 - part) * height);
    }

    function pan(by) {
        const to = clamp(view.from + by, 0, HEIGHT - (view.to - view.from));
        show(to, to + view.to - view.from);
    }

    const showAll = () => show(0, HEIGHT);

    function showSpan([from, to]) {
        const room = Math.max((to - from) * 1.5, CLOSEST);
        show(from - room, to + room);
    }

    /* Bring it into view, and to a height at which it can be seen. */
    function bring([from, to]) {
        if ((to - from) * scale() < 3) {
            const half = pixels / 16 * (to - from || CLOSEST / 10);
            show(from - half, to + half);
        } else if (from < view.from || to > view.to) {
            const half = Math.max(view.to - view.from, to - from) / 2;
            show((from + to) / 2 - half, (from + to) / 2 + half);
        }
    }

    /* ---- choosing ---------------------------------------------------------------------------- */

    function describe(item, address) {
        const line = (s, className) => Object.assign(document.createElement("p"),
                                                     { textContent: s, className: className ?? "" });
        const lines = [];
        if (address !== undefined) {
            lines.push(line(`0x${address.toString(16)} is 0x${(address - base(item)).toString(16)} into`,
                            "mono"));
        }
        lines.push(line(`${text(item, 0)} – ${text(item, 1)}`, "mono"));
        if (item.use === "hole") {
            lines.push(line(`${text(item, 2)} hole: the map says nothing about it`));
        } else {
            lines.push(line(`${text(item, 2)} ${name(item)}, ${text(item, 3)}`));
            lines.push(line(`attributes ${text(item, 5)}` +
                            (text(item, 6) ? `, descriptor ${text(item, 6)}` : "")));
        }
        if (maps.length > 1) {
            lines[0].prepend(`${"AB"[item.map.k]}: `);
        }
        const most = 8;
        lines.push(...item.notes.slice(0, most).map((note) => line(note)));
        if (item.notes.length > most) {
            lines.push(line(`and ${item.notes.length - most} more`));
        }
        return lines;
    }

    function choose(item, address) {
        tip.hidden = true;
        if (chosen && !isLine(chosen)) {
            chosen.row.classList.remove("chosen");
        }
        change?.li.classList.remove("chosen");
        chosen = item;
        change = null;
        if (item && !isLine(item)) {
            item.row.classList.add("chosen");
        }
        $("here").hidden = item === null;
        $("here").replaceChildren(...item ? describe(item, address) : []);
        if (item) {
            bring([item.top, item.end]);
        }
        redraw();
    }

    function chooseChange(c) {
        choose(null);
        change = c;
        c.li.classList.add("chosen");
        c.li.scrollIntoView({ block: "nearest" });
        bring([Math.min(c.left[0], c.right[0]), Math.max(c.left[1], c.right[1])]);
        redraw();
    }

    const isHidden = (item) => hidden.has(item.use);

    /* The next item in this direction that is not hidden. */
    function step(by) {
        const map = chosen?.map ?? last;
        let n = chosen ? chosen.n + by : by > 0 ? search(map.items, "end", view.from).n
                                                : search(map.items, "end", view.to).n;
        while (map.items[n] && isHidden(map.items[n])) {
            n += by;
        }
        if (map.items[n]) {
            choose(map.items[n]);
        }
    }

    function leap(by) {
        const stops = [...maps.flatMap((m) => m.items.filter((i) => i.mark > 0))
                           .map((item) => ({ at: item.top, item })),
                       ...changes.map((c) => ({ at: c.right[0], change: c }))]
            .sort((a, b) => a.at - b.at);
        const now = stops.findIndex((s) => change ? s.change === change : chosen && s.item === chosen);
        const at = change?.right[0] ?? chosen?.top ?? (by > 0 ? -1 : Infinity);
        const next = now >= 0 ? now + by
            : by > 0 ? stops.findIndex((s) => s.at > at) : stops.findLastIndex((s) => s.at < at);
        const stop = stops[next];
        if (stop?.item) {
            choose(stop.item);
        } else if (stop) {
            chooseChange(stop.change);
        }
    }

    function side(k) {
        if (maps[k] && maps.length > 1) {
            const at = chosen ? (chosen.top + chosen.end) / 2 : (view.from + view.to) / 2;
            choose(search(maps[k].items, "end", at));
        }
    }

    /* ---- search ------------------------------------------------------------------------------ */

    /* As `platmap at`: hexadecimal with 0x or with letters, else decimal. */
    function parseAddress(word) {
        if (/^(0x)?[0-9a-f]{1,16}$/i.test(word) && /^0x|\d.*[a-f]|[a-f].*\d/i.test(word)) {
            return BigInt("0x" + word.replace(/^0x/i, ""));
        }
        return /^\d{1,20}$/.test(word) ? BigInt(word) : null;
    }

    function find(word, isNext) {
        const address = parseAddress(word);
        const map = chosen?.map ?? maps[0];
        if (word === "") {
            choose(null);
            return true;
        }
        if (address !== null) {
            let low = 0;
            let high = map.items.length;
            while (low < high) {
                const middle = (low + high) >> 1;
                if (end(map.items[middle]) < address) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            choose(map.items[low] ?? null, address);
            return low < map.items.length;
        }
        const start = chosen ? chosen.n + (isNext ? 1 : 0) : 0;
        const wanted = word.toLowerCase();
        for (let n = 0; n < map.items.length; n++) {
            const item = map.items[(start + n) % map.items.length];
            if (whole(item).toLowerCase().includes(wanted)) {
                choose(item);
                return true;
            }
        }
        return false;
    }

    function runSearch(isNext) {
        const input = $("search");
        const found = find(input.value.trim(), isNext);
        input.setAttribute("aria-invalid", String(!found));
        input.style.borderColor = found ? "" : "var(--error)";
        if (!found) {
            $("here").hidden = false;
            $("here").textContent = `Nothing in the map is ${input.value.trim()}.`;
        }
    }

    /* ---- the pointer ------------------------------------------------------------------------- */

    /* A place on the screen: where in the picture, on which scale, at what. */
    function locate(event) {
        const box = svg.getBoundingClientRect();
        const per = box.width / place.width;
        const x = (event.clientX - box.left) / per;
        const down = clamp((event.clientY - box.top) / per - TOP, 0, pixels);
        const v = view.from + down / scale();
        const k = place.lefts.findLastIndex((left) => x >= left);
        const isOverview = x < fixed.bars + 4;
        const at = isOverview ? fromLine(down / pixels * HEIGHT) : v;
        const map = isOverview ? maps[maps.length > 1 && x > fixed.bars - fixed.barsWidth / 2 ? 1 : 0]
                               : maps[Math.max(k, 0)];
        const isBetween = maps.length > 1 && k === 0 && x > place.lefts[0] + place.column + 1;
        return { v: at, isOverview, isBetween, item: search(map.items, "end", at) };
    }

    function placeTip(x, top) {
        const right = window.innerWidth - tip.offsetWidth - 8;
        const isLow = top + tip.offsetHeight + 24 > window.innerHeight;
        tip.style.left = `${Math.max(4, Math.min(x + 16, right))}px`;
        tip.style.top = `${Math.max(4, isLow ? top - tip.offsetHeight - 12 : top + 16)}px`;
    }

    function hover(event) {
        const at = locate(event);
        const hit = event.target.dataset?.change;
        if (at.isBetween && hit === undefined) {
            tip.hidden = true;
            return;
        }
        tip.hidden = false;
        if (hit !== undefined) {
            tip.textContent = changes.find((c) => String(c.rank) === hit).li.textContent;
        } else {
            tip.replaceChildren(...describe(at.item));
        }
        placeTip(event.clientX, event.clientY);
    }

    const pointers = new Map();
    let drag = null;    // what a pointer that is down began

    svg.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) {
            return;
        }
        pointers.set(event.pointerId, event);
        drag = { ...locate(event), event, view, moved: false };
        if (pointers.size === 2) {
            const [a, b] = [...pointers.values()];
            drag.pinch = Math.abs(a.clientY - b.clientY) + Math.abs(a.clientX - b.clientX);
            drag.centre = (locate(a).v + locate(b).v) / 2;
        }
        figure.focus({ preventScroll: true });
    });

    svg.addEventListener("pointermove", (event) => {
        if (!pointers.has(event.pointerId) || drag === null) {
            if (event.pointerType !== "touch") {
                hover(event);
            }
            return;
        }
        pointers.set(event.pointerId, event);
        const by = event.clientY - drag.event.clientY;
        if (!drag.moved && Math.abs(by) < 4 && !drag.pinch) {
            return;
        }
        if (!drag.moved) {
            drag.moved = true;
            tip.hidden = true;
            svg.setPointerCapture(event.pointerId);
        }
        if (drag.pinch && pointers.size === 2) {
            const [a, b] = [...pointers.values()];
            const now = Math.abs(a.clientY - b.clientY) + Math.abs(a.clientX - b.clientX);
            view = drag.view;
            zoom(now / drag.pinch, drag.centre);
        } else if (drag.isOverview) {
            const to = locate(event);
            show(Math.min(drag.v, to.v), Math.max(drag.v, to.v));
        } else {
            const per = svg.getBoundingClientRect().width / place.width;
            view = drag.view;
            pan(-by / per / scale());
        }
    });

    function release(event) {
        const isClick = pointers.size === 1 && drag !== null && !drag.moved &&
                        event.type === "pointerup";
        pointers.delete(event.pointerId);
        if (isClick) {
            const hit = event.target.dataset?.change;
            if (hit !== undefined) {
                chooseChange(changes.find((c) => String(c.rank) === hit));
            } else if (!drag.isBetween) {
                choose(drag.item);
            }
            if (event.pointerType === "touch") {    // a finger does not hover
                hover(event);
            }
        }
        if (pointers.size === 0) {
            drag = null;
        }
    }

    svg.addEventListener("pointerup", release);
    svg.addEventListener("pointercancel", release);
    svg.addEventListener("pointerleave", () => {
        tip.hidden = true;
    });
    svg.addEventListener("dblclick", (event) => {
        const { item } = locate(event);
        showSpan([item.top, item.end]);
    });
    svg.addEventListener("wheel", (event) => {
        const lines = event.deltaMode === 0 ? event.deltaY : event.deltaY * 30;
        if (event.ctrlKey) {
            event.preventDefault();
            zoom(Math.exp(-lines / 180), locate(event).v);
            hover(event);
            return;
        }
        const before = view.from;
        pan(lines / scale());
        if (view.from !== before) {     // else the page scrolls on
            event.preventDefault();
            hover(event);
        }
    }, { passive: false });

    /* ---- the keyboard ------------------------------------------------------------------------ */

    function toggleTheme() {
        const style = document.documentElement.style;
        const isDark = style.colorScheme ? style.colorScheme === "dark"
                                         : matchMedia("(prefers-color-scheme: dark)").matches;
        style.colorScheme = isDark ? "light" : "dark";
    }

    function goToRow(item) {
        if (!isLine(item)) {
            item.row.scrollIntoView({ block: "center" });
            return;
        }
        const range = document.createRange();
        const at = item.source.textContent.indexOf(item.row);
        range.setStart(item.source.firstChild, at);
        range.setEnd(item.source.firstChild, at + item.row.length);
        item.source.closest("details").open = true;
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        window.scrollBy(0, range.getBoundingClientRect().top - window.innerHeight / 2);
    }

    function enter() {
        if (change) {
            showSpan([Math.min(change.left[0], change.right[0]),
                      Math.max(change.left[1], change.right[1])]);
        } else if (chosen) {
            const isClose = (chosen.end - chosen.top) * scale() > pixels / 5;
            if (isClose) {
                goToRow(chosen);
            } else {
                showSpan([chosen.top, chosen.end]);
            }
        }
    }

    function letGo() {
        tip.hidden = true;
        choose(null);
    }

    const inPicture = {
        ArrowDown: () => step(1),
        ArrowUp: () => step(-1),
        ArrowLeft: () => side(0),
        ArrowRight: () => side(1),
        Home: () => choose((chosen?.map ?? last).items[0]),
        End: () => choose((chosen?.map ?? last).items.at(-1)),
        PageDown: () => pan((view.to - view.from) * 0.9),
        PageUp: () => pan((view.from - view.to) * 0.9),
        Enter: enter,
    };
    const anywhere = {
        "+": () => zoom(1.6),
        "=": () => zoom(1.6),
        "-": () => zoom(1 / 1.6),
        0: showAll,
        n: () => leap(1),
        p: () => leap(-1),
        d: toggleTheme,
        "/": () => $("search").focus(),
        "?": () => $("help").showModal(),
        Escape: letGo,
    };

    document.addEventListener("keydown", (event) => {
        tip.hidden = true;
        if (event.ctrlKey || event.altKey || event.metaKey || $("help").open) {
            return;
        }
        if (event.target === $("search")) {
            if (event.key === "Enter") {
                event.preventDefault();
                runSearch(true);
            } else if (event.key === "Escape") {
                $("search").value = "";
                letGo();
                figure.focus();
            }
            return;
        }
        const act = (event.target === figure ? inPicture[event.key] : undefined) ?? anywhere[event.key];
        if (act) {
            event.preventDefault();
            act();
        }
    });

    /* ---- everything else that can be touched -------------------------------------------------- */

    $("tools").addEventListener("submit", (event) => event.preventDefault());
    $("search").addEventListener("input", () => runSearch(false));
    $("in").addEventListener("click", () => zoom(1.6));
    $("out").addEventListener("click", () => zoom(1 / 1.6));
    $("whole").addEventListener("click", showAll);
    $("theme").addEventListener("click", toggleTheme);
    $("keys").addEventListener("click", () => $("help").showModal());

    $("uses").addEventListener("change", (event) => {
        const use = event.target.id.replace("use", "k");
        if (event.target.checked) {
            hidden.delete(use);
        } else {
            hidden.add(use);
        }
        redraw();
    });

    document.addEventListener("click", (event) => {
        const row = event.target.closest?.("tr[data-at]");
        const link = event.target.closest?.("a[href^='#']");
        const li = event.target.closest?.("#changes li");
        const item = itemOf(link ? link.dataset.item : row?.id);
        const c = li && changes.find((candidate) => candidate.li === li);
        if (item || c) {
            if (item) {
                choose(item);
            } else {
                chooseChange(c);
            }
            event.preventDefault();
            figure.scrollIntoView({ block: "nearest" });
        }
    });

    new ResizeObserver(redraw).observe(figure);
    window.addEventListener("resize", redraw);
    window.addEventListener("beforeprint", () => {
        isPrinting = true;
        resize(WIDTH, PRINTED);
        draw();
    });
    window.addEventListener("afterprint", () => {
        isPrinting = false;
        redraw();
    });

    /* ---- now ---------------------------------------------------------------------------------- */

    figure.classList.add("live");
    figure.tabIndex = 0;
    figure.setAttribute("role", "application");
    figure.setAttribute("aria-label", "Memory map: arrow keys go from region to region, ? shows all keys");
    $("tools").hidden = false;
    fit();
    draw();

    const start = decodeURIComponent(location.hash.slice(1));
    if (itemOf(start)) {
        choose(itemOf(start));
    } else if (/^0x[0-9a-f]{1,16}$/i.test(start)) {
        find(start, false);
    }
})();
