import com.clickhouse.client.api.Client;
import com.clickhouse.client.api.ServerException;
import com.clickhouse.client.api.insert.InsertSettings;
import com.clickhouse.client.api.query.GenericRecord;
import com.clickhouse.client.api.query.QueryResponse;
import com.clickhouse.client.api.query.QuerySettings;
import com.clickhouse.client.api.query.Records;
import com.clickhouse.data.ClickHouseFormat;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;

/**
 * Reads with ClickHouse's Java client: java -cp JARS ClientV2.java URL DATABASE PASSWORD WRITE_PASSWORD COMPRESSION.
 * Prints "name TAB value". COMPRESSION is none, blocks or http.
 */
public class ClientV2 {
    interface Work {
        Object run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        try (Client client = open(arguments, arguments[2])) {
            metadata(client, arguments[1]);
            views(client);
            types(client);
            parameters(client);
            large(client);
            refused("unknown_column", () -> client.queryAll("SELECT nothing FROM usage_events"));
            refused("unknown_table", () -> client.query("SELECT * FROM nowhere").get());
            refused("file", () -> client.queryAll("SELECT file('/etc/passwd')"));
            refused("drop", () -> client.execute("DROP TABLE written").get());
            refused("insert", () -> insert(client, 1));
            try (Client writer = open(arguments, arguments[3])) {
                insert(writer, 20_000);
            }
            String sql = "SELECT count() AS rows, countDistinct(word) AS words FROM written WHERE length(word) = 27";
            GenericRecord written = client.queryAll(sql).get(0);
            say("written", written.getLong("rows") + " " + written.getLong("words"));
        }
        try (Client stranger = open(arguments, "wrong")) {
            refused("password", () -> stranger.queryAll("SELECT 1"));
        }
    }

    static Client open(String[] arguments, String password) {
        return new Client.Builder()
            .addEndpoint(arguments[0])
            .setUsername("default")
            .setPassword(password)
            .setDefaultDatabase(arguments[1])
            .compressServerResponse(!arguments[4].equals("none"))
            .compressClientRequest(!arguments[4].equals("none"))
            .useHttpCompression(arguments[4].equals("http"))
            .build();
    }

    static void metadata(Client client, String database) {
        say("ping", client.ping());
        client.loadServerInfo();
        say("server", client.getServerVersion());
        say("columns", client.getTableSchema("usage_events", database).getColumns().stream()
            .map(column -> column.getColumnName() + "=" + column.getOriginalTypeName()).collect(Collectors.joining("; ")));
    }

    static void views(Client client) {
        for (String view : new String[] {"feature_cost_summary", "realtime_cost_monitor", "unknown_cost_calls"}) {
            say(view, client.queryAll("SELECT * FROM " + view).size());
        }
        String hours = "SELECT sum(calls) AS calls, sum(unpriced_calls) AS unpriced_calls FROM usage_hourly";
        GenericRecord sums = client.queryAll(hours).get(0);
        say("usage_hourly", sums.getLong("calls") + " " + sums.getLong("unpriced_calls"));
    }

    static void types(Client client) throws Exception {
        String sql = "SELECT cost_usd, occurred_at, provider, input_tokens, request_id,"
            + " JSONExtract(quantities, 'Map(String, Decimal(38, 12))') AS quantities, [provider, model] AS names"
            + " FROM usage_events ORDER BY request_id LIMIT 2";
        List<GenericRecord> rows = client.queryAll(sql);
        GenericRecord first = rows.get(0), second = rows.get(1);
        say("cost", first.getBigDecimal("cost_usd").toPlainString());
        say("time", first.getInstant("occurred_at"));
        say("low_cardinality", first.getString("provider"));
        say("count", first.getInteger("input_tokens"));
        say("map", ((BigDecimal) ((Map<?, ?>) first.getObject("quantities")).get("seconds")).toPlainString());
        say("array", first.getList("names"));
        say("null", second.getBigDecimal("cost_usd") + " " + second.getString("request_id"));
    }

    static void parameters(Client client) {
        String sql = "SELECT request_id FROM usage_events WHERE request_id = {id:String} AND input_tokens >= {tokens:UInt32}";
        Map<String, Object> given = Map.of("id", "it's \\ r-1", "tokens", 100);
        List<GenericRecord> rows = client.queryAll(sql, given);
        say("prepared", rows.get(0).getString("request_id") + (rows.size() > 1 ? " and more" : ""));
    }

    static void large(Client client) throws Exception {
        String sql = "SELECT number, request_id, cost_usd FROM usage_events CROSS JOIN numbers(50000) AS n";
        say("streamed", lines(client, sql) + " " + lines(client, sql + " WHERE number < 0"));
        long rows = 0, sum = 0;
        try (Records records = client.queryRecords(sql).get()) {
            say("result_rows", records.getResultRows());
            for (GenericRecord record : records) {
                rows++;
                sum += record.getLong("number");
            }
        }
        say("large", rows + " " + sum);
    }

    static long lines(Client client, String sql) throws Exception {
        QuerySettings settings = new QuerySettings().setFormat(ClickHouseFormat.JSONEachRow);
        try (QueryResponse answer = client.query(sql, settings).get();
            BufferedReader text = new BufferedReader(new InputStreamReader(answer.getInputStream(), StandardCharsets.UTF_8))) {
            return text.lines().count();
        }
    }

    static Object insert(Client client, int rows) throws Exception {
        byte[] words = "{\"word\":\"some words, again and again\"}\n".repeat(rows).getBytes(StandardCharsets.UTF_8);
        return client.insert("written", new ByteArrayInputStream(words), ClickHouseFormat.JSONEachRow, new InsertSettings()).get();
    }

    static void refused(String name, Work work) {
        try {
            work.run();
            say(name, "not refused");
        } catch (Exception error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            while (!(cause instanceof ServerException) && cause.getCause() != null) cause = cause.getCause();
            say(name, cause instanceof ServerException told ? told.getCode() + " " + told.getMessage() : error);
        }
    }

    static void say(String name, Object value) {
        System.out.println(name + "\t" + String.valueOf(value).replace("\n", " "));
    }
}
