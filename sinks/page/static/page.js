"use strict";
// Draws the charts, and takes in what is new: the server says that there is news, and the view is fetched anew.
(() => {
  const root = document.body.dataset.root;
  const live = document.getElementById("live");
  const EVERY_MS = 10000; // where events cannot be had
  const AT_LEAST_MS = 60000; // spans move on though nothing new is stored
  let charts = [];

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const PALETTE = ["#2f6fed", "#e07a3f", "#2fa37c", "#8a63d2", "#d1495b", "#3aa6b9", "#b58900", "#6c7a89", "#9aa5b1"];
  const escaped = (text) => {
    const held = document.createElement("span");
    held.textContent = text;
    return held.innerHTML;
  };
  const SIGNS = { USD: "$", EUR: "€", GBP: "£", KRW: "₩", JPY: "¥", INR: "₹" };
  const money = (value, currency) => {
    if (value === null || value === undefined) return "unknown";
    const size = Math.abs(Number(value));
    const digits = size >= 1 || size === 0 ? 2 : 4;
    const sign = SIGNS[currency] || `${currency} `;
    return sign + Number(value).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: digits });
  };

  const common = (chart) => ({
    animation: false,
    textStyle: { fontFamily: "inherit" },
    grid: { left: 8, right: 12, top: 34, bottom: 8, containLabel: true },
    legend: { type: "scroll", top: 0, left: 0, textStyle: { color: color("--soft") }, itemWidth: 12, itemHeight: 10 },
    yAxis: {
      type: "value",
      axisLabel: { color: color("--soft"), formatter: (value) => money(value, chart.currency) },
      splitLine: { lineStyle: { color: color("--line") } },
    },
    aria: { enabled: true },
  });
  const across = (labels) => ({
    type: "category", data: labels,
    axisLabel: { color: color("--soft"), hideOverlap: true }, axisLine: { lineStyle: { color: color("--line") } },
    axisTick: { show: false },
  });

  const bars = (chart) => ({
    ...common(chart),
    color: PALETTE,
    xAxis: across(chart.times),
    tooltip: {
      trigger: "axis", axisPointer: { type: "shadow" }, confine: true,
      formatter: (parts) => {
        const lines = parts.filter((part) => part.value !== null && part.value !== undefined && Number(part.value) !== 0)
          .map((part) => `${part.marker}${escaped(part.seriesName)}&ensp;<b>${money(part.value, chart.currency)}</b>`);
        const unpriced = chart.unpriced[parts[0].dataIndex];
        if (unpriced) lines.push(`${unpriced.toLocaleString("en-US")} calls unpriced`);
        return [escaped(parts[0].axisValueLabel), ...lines].join("<br>");
      },
    },
    series: chart.lines.map((line) => ({
      type: "bar", stack: "cost", name: line.name || "(none)", data: line.values, barMaxWidth: 46,
    })),
  });

  const forecast = (chart) => {
    const at = (rows, column) => {
      const values = new Map(rows.map((row) => [row[0], row[column]]));
      return chart.days.map((day) => (values.has(day) ? values.get(day) : null));
    };
    const low = at(chart.coming, 2);
    const high = at(chart.coming, 3).map((edge, day) => (edge === null || low[day] === null ? null : edge - low[day]));
    const band = { type: "line", stack: "band", symbol: "none", lineStyle: { opacity: 0 }, silent: true };
    const between = (day) => {
      const edges = chart.coming.find((row) => row[0] === day);
      return edges && edges[2] !== null ? `<br>80 %: ${money(edges[2], chart.currency)} to ${money(edges[3], chart.currency)}` : "";
    };
    return {
      ...common(chart),
      xAxis: { ...across(chart.days), boundaryGap: false },
      legend: { ...common(chart).legend, data: ["spent", "expected"] },
      tooltip: {
        trigger: "axis", confine: true,
        formatter: (parts) => {
          const told = parts.filter((part) => ["spent", "expected"].includes(part.seriesName) && part.value !== null && part.value !== undefined)
            .map((part) => `${part.marker}${part.seriesName}&ensp;<b>${money(part.value, chart.currency)}</b>`);
          return [escaped(parts[0].axisValueLabel), ...told].join("<br>") + between(parts[0].axisValueLabel);
        },
      },
      series: [
        { ...band, name: "low", data: low },
        { ...band, name: "high", data: high, areaStyle: { color: PALETTE[0], opacity: 0.16 } },
        { type: "line", name: "spent", data: at(chart.spent, 1), symbol: chart.spent.length > 1 ? "none" : "circle", symbolSize: 9, color: PALETTE[0], lineStyle: { width: 3 } },
        { type: "line", name: "expected", data: at(chart.coming, 1), symbol: "none", color: PALETTE[1], lineStyle: { type: "dashed", width: 2 } },
      ],
    };
  };

  const draw = () => {
    charts.forEach((chart) => chart.dispose());
    charts = [...document.querySelectorAll("[data-chart]")].map((place) => {
      const told = JSON.parse(place.dataset.chart);
      const chart = echarts.init(place, null, { renderer: "canvas" });
      chart.setOption(told.kind === "bars" ? bars(told) : forecast(told));
      return chart;
    });
  };

  const state = (name) => { live.dataset.state = name; };

  // A person who is typing or choosing is not disturbed; the next news does it.
  const isBusy = () => {
    const active = document.activeElement;
    return active && active.closest("main") && ["INPUT", "SELECT", "TEXTAREA"].includes(active.tagName);
  };
  let fetching = false, again = false;
  const renew = async () => {
    if (document.hidden || isBusy()) { again = true; return; }
    if (fetching) { again = true; return; }
    fetching = true; again = false;
    try {
      const answer = await fetch(location.href, { headers: { "x-fragment": "1" } });
      if (!answer.ok) { state("lost"); return; }
      const main = document.getElementById("main");
      const focused = document.activeElement && document.activeElement.closest("main") ? document.activeElement.getAttribute("href") : null;
      main.innerHTML = await answer.text();
      live.textContent = answer.headers.get("x-clock") || live.textContent;
      draw();
      if (focused) [...main.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
      listen();
    } catch { state("lost"); } finally {
      fetching = false;
      if (again) setTimeout(renew, 1000);
    }
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) renew(); });

  const listen = () => document.querySelectorAll("[data-submit]").forEach((choice) => {
    choice.addEventListener("change", () => {
      const form = choice.form;
      if (choice.name === "span") form.querySelectorAll("[type=datetime-local]").forEach((field) => { field.disabled = true; });
      form.querySelectorAll("[type=datetime-local]").forEach((field) => { if (!field.value) field.disabled = true; });
      form.submit();
    });
  });

  const poll = () => {
    let before = null;
    state("asking");
    setInterval(async () => {
      try {
        const answer = await fetch(`${root}/pulse`);
        const now = await answer.text();
        state(answer.ok ? "asking" : "lost");
        if (answer.ok && before !== null && now !== before) renew();
        if (answer.ok) before = now;
      } catch { state("lost"); }
    }, EVERY_MS);
  };
  const hear = () => {
    if (!window.EventSource) { poll(); return; }
    const source = new EventSource(`${root}/live`);
    let failures = 0;
    source.addEventListener("open", () => { failures = 0; state("live"); });
    source.addEventListener("news", renew);
    source.addEventListener("error", () => {
      state("lost");
      failures += 1;
      if (source.readyState === EventSource.CLOSED || failures > 5) { source.close(); poll(); }
    });
  };

  const theme = document.getElementById("theme");
  const dark = () => document.documentElement.dataset.theme === "dark" ||
    (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  try { const kept = localStorage.getItem("costream-theme"); if (kept) document.documentElement.dataset.theme = kept; } catch { /* it is not kept then */ }
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("costream-theme", document.documentElement.dataset.theme); } catch { /* the same */ }
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  window.addEventListener("resize", () => charts.forEach((chart) => chart.resize()));

  draw();
  listen();
  hear();
  setInterval(renew, AT_LEAST_MS);
})();
