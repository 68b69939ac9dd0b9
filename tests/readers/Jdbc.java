import java.math.BigDecimal;
import java.sql.*;
import java.time.OffsetDateTime;
import java.util.*;

/** Reads with ClickHouse's JDBC driver: java -cp JARS Jdbc.java URL USER PASSWORD COMPRESS. Prints "name TAB value". */
public class Jdbc {
    interface Work {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.setProperty("user", arguments[1]);
        settings.setProperty("password", arguments[2]);
        settings.setProperty("compress", arguments[3]);
        String url = "jdbc:clickhouse:" + arguments[0];
        try (Connection connection = DriverManager.getConnection(url, settings)) {
            metadata(connection.getMetaData(), connection.getSchema());
            views(connection);
            types(connection);
            parameters(connection);
            large(connection);
            Statement statement = connection.createStatement();
            refused("unknown_column", () -> statement.executeQuery("SELECT nothing FROM usage_events"));
            refused("unknown_table", () -> statement.executeQuery("SELECT * FROM nowhere"));
            refused("file", () -> statement.executeQuery("SELECT file('/etc/passwd')"));
            refused("insert", () -> statement.executeUpdate("INSERT INTO written (word) VALUES ('x')"));
            refused("drop", () -> statement.execute("DROP TABLE written"));
        }
        settings.setProperty("password", "wrong");
        refused("password", () -> DriverManager.getConnection(url, settings).createStatement().executeQuery("SELECT 1"));
    }

    static void metadata(DatabaseMetaData metadata, String database) throws Exception {
        say("server", metadata.getDatabaseProductVersion());
        Set<String> tables = new TreeSet<>();
        try (ResultSet rows = metadata.getTables(null, database, "%", null)) {
            while (rows.next()) tables.add(rows.getString("TABLE_NAME"));
        }
        say("tables", String.join(" ", tables));
        Set<String> columns = new TreeSet<>();
        try (ResultSet rows = metadata.getColumns(null, database, "usage_events", "%")) {
            while (rows.next()) columns.add(rows.getString("COLUMN_NAME") + "=" + rows.getString("TYPE_NAME"));
        }
        say("columns", String.join("; ", columns));
        boolean named = false;
        try (ResultSet rows = metadata.getSchemas()) {
            while (rows.next()) named |= rows.getString("TABLE_SCHEM").equals(database);
        }
        say("ping", named);
    }

    static void views(Connection connection) throws Exception {
        String[] views = {"feature_cost_summary", "realtime_cost_monitor", "unknown_cost_calls"};
        for (String view : views) {
            int rows = 0;
            try (ResultSet answer = connection.createStatement().executeQuery("SELECT * FROM " + view)) {
                while (answer.next()) {
                    rows++;
                    for (int column = 1; column <= answer.getMetaData().getColumnCount(); column++) answer.getObject(column);
                }
            }
            say(view, rows);
        }
        String hours = "SELECT sum(calls) AS calls, sum(unpriced_calls) AS unpriced_calls FROM usage_hourly";
        try (ResultSet answer = connection.createStatement().executeQuery(hours)) {
            answer.next();
            say("usage_hourly", answer.getLong("calls") + " " + answer.getLong("unpriced_calls"));
        }
    }

    static void types(Connection connection) throws Exception {
        String sql = "SELECT cost_usd, occurred_at, provider, input_tokens, request_id,"
            + " JSONExtract(quantities, 'Map(String, Decimal(38, 12))') AS quantities, [provider, model] AS names"
            + " FROM usage_events ORDER BY request_id LIMIT 2";
        try (ResultSet answer = connection.createStatement().executeQuery(sql)) {
            answer.next();
            say("cost", answer.getBigDecimal("cost_usd").toPlainString());
            say("time", answer.getObject("occurred_at", OffsetDateTime.class).toInstant());
            say("low_cardinality", answer.getString("provider"));
            say("count", answer.getInt("input_tokens"));
            Map<?, ?> quantities = answer.getObject("quantities", Map.class);
            say("map", ((BigDecimal) quantities.get("seconds")).toPlainString());
            say("array", Arrays.asList((Object[]) answer.getArray("names").getArray()));
            answer.next();
            say("null", answer.getBigDecimal("cost_usd") + " " + answer.getString("request_id"));
        }
    }

    static void parameters(Connection connection) throws Exception {
        String sql = "SELECT request_id FROM usage_events WHERE request_id = ? AND occurred_at > ? AND input_tokens >= ?";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setString(1, "it's \\ r-1");
            statement.setObject(2, OffsetDateTime.now().minusDays(2));
            statement.setInt(3, 100);
            try (ResultSet answer = statement.executeQuery()) {
                answer.next();
                say("prepared", answer.getString(1) + (answer.next() ? " and more" : ""));
            }
        }
    }

    static void large(Connection connection) throws Exception {
        long rows = 0, sum = 0;
        String sql = "SELECT number, request_id, cost_usd FROM usage_events CROSS JOIN numbers(50000) AS n";
        try (ResultSet answer = connection.createStatement().executeQuery(sql)) {
            while (answer.next()) {
                rows++;
                sum += answer.getLong("number");
            }
        }
        say("large", rows + " " + sum);
    }

    static void refused(String name, Work work) {
        try {
            work.run();
            say(name, "not refused");
        } catch (SQLException error) {
            say(name, error.getErrorCode() + " " + error.getMessage());
        } catch (Exception error) {
            say(name, error);
        }
    }

    static void say(String name, Object value) {
        System.out.println(name + "\t" + String.valueOf(value).replace("\n", " "));
    }
}
