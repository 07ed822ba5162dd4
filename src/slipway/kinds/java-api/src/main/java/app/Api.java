package app;

import io.javalin.Javalin;
import io.javalin.config.RoutesConfig;
import io.javalin.http.Context;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.eclipse.jetty.server.handler.GracefulHandler;

/** The API: what is in stock, and what this instance is. */
final class Api {
    /** Something in stock: what it is called and how many there are. */
    record Item(int id, String name, int stock) {}

    static final List<Item> STOCK = List.of(
            new Item(1, "anchor", 12), new Item(2, "cable", 40), new Item(3, "compass", 7), new Item(4, "lantern", 23));

    private Api() {}

    /**
     * Returns the server, not yet listening. It answers below the route for the gateway, which passes paths on
     * unchanged, and for its health at the root too: that is where the container's own check asks.
     */
    static Javalin create(String route) {
        String prefix = route.replaceAll("/+$", "");
        return Javalin.create(config -> {
            config.startup.showJavalinBanner = false;
            config.concurrency.useVirtualThreads = true;
            config.jetty.modifyServer(server -> {
                server.insertHandler(new GracefulHandler());
                server.setStopTimeout(Main.DRAIN.toMillis());
            });
            addRoutes(config.routes, prefix);
        });
    }

    private static void addRoutes(RoutesConfig routes, String prefix) {
        routes.get(prefix.isEmpty() ? "/" : prefix, context -> context.json(Map.of(
                "health", prefix + "/health", "info", prefix + "/info", "items", prefix + "/items")));
        routes.get(prefix + "/items", context -> context.json(STOCK));
        routes.get(prefix + "/info", context -> context.json(info()));
        routes.get(prefix + "/health", Api::health);
        if (!prefix.isEmpty()) {
            routes.get("/health", Api::health);
        }
    }

    private static void health(Context context) {
        context.json(Map.of("status", "ok"));
    }

    /** Returns what this instance is, and which settings and secrets it was given; never a secret's value. */
    private static Map<String, Object> info() {
        Map<String, String> given = new TreeMap<>(System.getenv());
        given.keySet().retainAll(List.of("PORT", "ROUTE"));
        return Map.of(
                "service", "api",
                "version", Main.VERSION,
                "runtime", "Java " + Runtime.version(),
                "instance", hostName(),
                "env", given,
                "secrets", secretNames(Path.of("/run/secrets")));
    }

    private static String hostName() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException error) {
            return "";
        }
    }

    /** Returns the names of the files that the platform has mounted, one for each of the service's `secrets`. */
    static List<String> secretNames(Path folder) {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
