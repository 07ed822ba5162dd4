package app;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.logging.ConsoleHandler;
import java.util.logging.Formatter;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/** Logs for machines to read: one JSON object a line, with the same names as the other services'. */
final class JsonLines extends Formatter {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** The server's own account of its start; what goes wrong is a warning, or worse. A level is lost with its logger. */
    private static final List<Logger> QUIET =
            List.of(Logger.getLogger("org.eclipse.jetty"), Logger.getLogger("io.javalin"));

    /** Sends all of this process's logs to standard error as JSON lines. */
    static void start() {
        Logger root = Logger.getLogger("");
        for (Handler handler : root.getHandlers()) {
            root.removeHandler(handler);
        }
        Handler handler = new ConsoleHandler();
        handler.setFormatter(new JsonLines());
        root.addHandler(handler);
        QUIET.forEach(logger -> logger.setLevel(Level.WARNING));
    }

    @Override
    public String format(LogRecord record) {
        Map<String, String> fields = new LinkedHashMap<>();
        fields.put("time", Instant.ofEpochMilli(record.getMillis()).truncatedTo(ChronoUnit.MILLIS).toString());
        String level = record.getLevel().getName().toLowerCase(Locale.ROOT);
        fields.put("level", level.equals("severe") ? "error" : level);
        fields.put("logger", record.getLoggerName());
        fields.put("message", formatMessage(record));
        if (record.getThrown() != null) {
            StringWriter trace = new StringWriter();
            record.getThrown().printStackTrace(new PrintWriter(trace));
            fields.put("error", trace.toString());
        }
        try {
            return JSON.writeValueAsString(fields) + "\n";
        } catch (JsonProcessingException error) {
            throw new IllegalStateException(error); // text can always be written
        }
    }
}
