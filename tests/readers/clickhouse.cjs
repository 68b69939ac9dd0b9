// Reads with @clickhouse/client: node clickhouse.cjs URL DATABASE PASSWORD COMPRESSION(true|false). Prints "name TAB value".
const { createClient, ClickHouseError, ClickHouseLogLevel } = require("@clickhouse/client");

const [url, database, password, compressed] = process.argv.slice(2);
const say = (name, value) => console.log(`${name}\t${String(value).replaceAll("\n", " ")}`);

const open = (given) =>
  createClient({
    url,
    database,
    username: "default",
    password: given,
    log: { level: ClickHouseLogLevel.OFF },
    // A number of JavaScript has 15 to 17 digits, a cost has more: decimals come as text.
    clickhouse_settings: { output_format_json_quote_decimals: 1 },
    compression: { request: compressed === "true", response: compressed === "true" },
  });

const rows = async (client, query, query_params = {}) =>
  (await client.query({ query, query_params, format: "JSONEachRow" })).json();

const refused = async (name, work) => {
  try {
    await work();
    say(name, "not refused");
  } catch (error) {
    say(name, error instanceof ClickHouseError ? `${error.code} ${error.message}` : error);
  }
};

const views = async (client) => {
  for (const view of ["feature_cost_summary", "realtime_cost_monitor", "unknown_cost_calls"]) {
    say(view, (await rows(client, `SELECT * FROM ${view}`)).length);
  }
  const hours = "SELECT sum(calls) AS calls, sum(unpriced_calls) AS unpriced_calls FROM usage_hourly";
  const [sums] = await rows(client, hours);
  say("usage_hourly", `${sums.calls} ${sums.unpriced_calls}`);
};

const types = async (client) => {
  const [first, second] = await rows(
    client,
    `SELECT cost_usd, occurred_at, provider, input_tokens, request_id,
       JSONExtract(quantities, 'Map(String, Decimal(38, 12))') AS quantities, [provider, model] AS names
     FROM usage_events ORDER BY request_id LIMIT 2`,
  );
  say("cost", first.cost_usd);
  say("time", new Date(`${first.occurred_at.replace(" ", "T")}Z`).toISOString().replace(".000Z", "Z"));
  say("low_cardinality", first.provider);
  say("count", first.input_tokens);
  say("map", first.quantities.seconds);
  say("array", `[${first.names.join(", ")}]`);
  say("null", `${second.cost_usd} ${second.request_id}`);
};

const large = async (client) => {
  const query = "SELECT number, request_id FROM usage_events CROSS JOIN numbers(50000) AS n";
  const answer = await client.query({ query, format: "JSONEachRow" });
  let [count, sum] = [0, 0];
  for await (const chunk of answer.stream()) {
    for (const row of chunk) {
      count += 1;
      sum += Number(row.json().number);
    }
  }
  say("large", `${count} ${sum}`);
};

const main = async () => {
  const client = open(password);
  say("ping", (await client.ping({ select: true })).success);
  say("server", (await rows(client, "SELECT version() AS version"))[0].version);
  const columns = await rows(client, "DESCRIBE TABLE usage_events");
  say("columns", columns.map(({ name, type }) => `${name}=${type}`).join("; "));
  await views(client);
  await types(client);
  const query = "SELECT request_id FROM usage_events WHERE request_id = {id:String} AND input_tokens >= {tokens:UInt32}";
  const found = await rows(client, query, { id: "it's \\ r-1", tokens: 100 });
  say("prepared", `${found[0].request_id}${found.length > 1 ? " and more" : ""}`);
  await large(client);
  await refused("unknown_column", () => rows(client, "SELECT nothing FROM usage_events"));
  await refused("unknown_table", () => rows(client, "SELECT * FROM nowhere"));
  await refused("file", () => rows(client, "SELECT file('/etc/passwd')"));
  await refused("insert", () => client.insert({ table: "written", values: [{ word: "x" }], format: "JSONEachRow" }));
  await refused("drop", () => client.command({ query: "DROP TABLE written" }));
  await client.close();
  const stranger = open("wrong");
  await refused("password", () => rows(stranger, "SELECT 1"));
  await stranger.close();
};

main();
