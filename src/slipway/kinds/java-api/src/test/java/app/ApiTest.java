package app;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.javalin.Javalin;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The API answers what its users rely on, on a real server. */
class ApiTest {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();
    private static final ObjectMapper JSON = new ObjectMapper();

    private static HttpResponse<String> get(Javalin app, String path) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + app.port() + path)).build();
        return CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
    }

    /** Returns what a new server with a route answers at a path. */
    private static HttpResponse<String> ask(String route, String path) throws IOException, InterruptedException {
        Javalin app = Api.create(route).start(0);
        try {
            return get(app, path);
        } finally {
            app.stop();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"/health", "/orders/health"})
    void healthIsAnsweredAtTheRootAndBelowTheRoute(String path) throws Exception {
        assertEquals("{\"status\":\"ok\"}", ask("/orders", path).body());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "/", "/orders"})
    void itemsHaveANameAndAStock(String route) throws Exception {
        JsonNode items = JSON.readTree(ask(route, route.equals("/orders") ? "/orders/items" : "/items").body());
        assertEquals("anchor", items.get(0).get("name").asText());
        assertEquals(12, items.get(0).get("stock").asInt());
    }

    @Test
    void infoNamesTheVersionAndOnlyTheVariablesThatItMeansTo() throws Exception {
        JsonNode info = JSON.readTree(ask("", "/info").body());
        assertEquals(Main.VERSION, info.get("version").asText());
        assertFalse(info.get("env").has("PATH"));
    }

    @Test
    void theRouteItselfSaysWhereToGo() throws Exception {
        Javalin app = Api.create("/orders").start(0);
        try {
            for (JsonNode link : JSON.readTree(get(app, "/orders").body())) {
                assertEquals(200, get(app, link.asText()).statusCode());
            }
            assertEquals(404, get(app, "/items").statusCode());
        } finally {
            app.stop();
        }
    }

    @Test
    void aRequestThatIsBeingAnsweredIsFinishedBeforeTheEnd() throws Exception {
        CountDownLatch arrived = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        Javalin app = Api.create("");
        app.unsafe.routes.get("/slow", context -> {
            arrived.countDown();
            goOn.await();
            context.result("whole");
        });
        app.start(0);
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + app.port() + "/slow")).build();
        CompletableFuture<HttpResponse<String>> answer =
                CLIENT.sendAsync(request, HttpResponse.BodyHandlers.ofString());
        arrived.await();
        Thread stop = Thread.ofVirtual().start(app::stop);
        Thread.sleep(200);
        goOn.countDown();
        assertEquals("whole", answer.get().body());
        stop.join();
    }

    @Test
    void theHealthCheckTellsAServerThatIsWellFromOneThatIsNot() throws Exception {
        Javalin app = Api.create("").start(0);
        int port = app.port();
        assertTrue(Health.ask(port).contains(" 200 "));
        app.stop();
        assertThrows(IOException.class, () -> Health.ask(port));
    }

    @Test
    void secretsAreNamedAndNotShown(@TempDir Path folder) throws Exception {
        Files.writeString(folder.resolve("API_TOKEN"), "s3cret");
        assertEquals(List.of("API_TOKEN"), Api.secretNames(folder));
        assertEquals(List.of(), Api.secretNames(folder.resolve("none")));
    }

    @Test
    void logsAreJsonWithTheSameNamesAsTheOtherServices() throws Exception {
        LogRecord record = new LogRecord(Level.SEVERE, "it \"fell\"");
        record.setLoggerName("app");
        record.setThrown(new IllegalStateException("over"));
        JsonNode line = JSON.readTree(new JsonLines().format(record));
        assertEquals("error", line.get("level").asText());
        assertEquals("it \"fell\"", line.get("message").asText());
        assertTrue(line.get("error").asText().contains("over"));
        assertTrue(line.get("time").asText().endsWith("Z"));
    }
}
