import java.math.BigDecimal;
import java.sql.*;
import java.util.Properties;

/** PostgreSQL's JDBC driver against the Postgres door. Arguments: port, password. */
public class JdbcClient {
    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("user", "anybody");
        properties.setProperty("password", args[1]);
        // The fifth use of a statement prepares it on the server, in binary where the driver knows the type.
        properties.setProperty("prepareThreshold", "3");
        String url = "jdbc:postgresql://127.0.0.1:" + args[0] + "/thalweg";
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("CREATE TABLE j (id BIGINT PRIMARY KEY, name TEXT, price DECIMAL(10, 2), at TIMESTAMP, ok BOOLEAN, x DOUBLE PRECISION)");
            }
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO j VALUES (?, ?, ?, ?, ?, ?)")) {
                for (int id = 0; id < 20; id++) {
                    insert.setLong(1, id);
                    insert.setString(2, "näme " + id);
                    insert.setBigDecimal(3, new BigDecimal(id).movePointLeft(2));
                    insert.setTimestamp(4, Timestamp.valueOf("2026-01-01 00:00:" + (10 + id)));
                    insert.setBoolean(5, id % 2 == 0);
                    insert.setDouble(6, id / 4.0);
                    check(insert.executeUpdate() == 1, "one row");
                }
            }
            try (PreparedStatement select = connection.prepareStatement("SELECT name, price, at, ok, x FROM j WHERE id = ?")) {
                for (int id = 0; id < 20; id++) {
                    select.setLong(1, id);
                    try (ResultSet rows = select.executeQuery()) {
                        check(rows.next(), "a row for " + id);
                        check(rows.getString(1).equals("näme " + id), rows.getString(1));
                        check(rows.getBigDecimal(2).equals(new BigDecimal(id).movePointLeft(2).setScale(2)), rows.getString(2));
                        check(rows.getTimestamp(3).equals(Timestamp.valueOf("2026-01-01 00:00:" + (10 + id))), rows.getString(3));
                        check(rows.getBoolean(4) == (id % 2 == 0), "ok");
                        check(rows.getDouble(5) == id / 4.0, "x");
                        check(!rows.next(), "only one");
                    }
                }
            }
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                statement.executeUpdate("UPDATE j SET name = 'gone' WHERE id = 1");
                connection.rollback();
                try (ResultSet rows = statement.executeQuery("SELECT name FROM j WHERE id = 1")) {
                    check(rows.next() && rows.getString(1).equals("näme 1"), "rolled back");
                }
                connection.commit();
                try {
                    statement.executeQuery("SELECT * FROM nowhere");
                    throw new AssertionError("a table that is not there");
                } catch (SQLException error) {
                    check("42P01".equals(error.getSQLState()), error.getSQLState());
                }
                connection.rollback();
            }
            connection.setAutoCommit(true);
            DatabaseMetaData metadata = connection.getMetaData();
            boolean found = false;
            try (ResultSet tables = metadata.getTables(null, "public", "%", new String[] {"TABLE"})) {
                while (tables.next()) found |= tables.getString("TABLE_NAME").equals("j");
            }
            check(found, "getTables names j");
            int columns = 0;
            try (ResultSet rows = metadata.getColumns(null, "public", "j", "%")) {
                while (rows.next()) columns++;
            }
            check(columns == 6, "getColumns: " + columns);
        }
        System.out.println("ok");
    }
}
