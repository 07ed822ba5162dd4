package app;

import io.javalin.Javalin;
import java.time.Duration;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Serves the API until it is told to stop: the container's first process. */
public final class Main {
    static final String VERSION = "1.0.0";
    /** How long requests in flight may take once the service was told to stop. */
    static final Duration DRAIN = Duration.ofSeconds(8);

    private Main() {}

    public static void main(String[] words) {
        JsonLines.start();
        Javalin app = Api.create(System.getenv().getOrDefault("ROUTE", ""));
        Logger log = LoggerFactory.getLogger(Main.class);
        // On SIGTERM, what is being answered is finished; then the process ends with status 0, not the signal's 143.
        Runtime.getRuntime().addShutdownHook(Thread.ofPlatform().unstarted(() -> {
            app.stop();
            Runtime.getRuntime().halt(0);
        }));
        app.start(Integer.parseInt(System.getenv("PORT")));
        log.info("serving on port {}", app.port());
    }
}
