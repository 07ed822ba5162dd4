package app;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** The container's health check: ends with status 0 when the API answers. A plain socket starts the quickest. */
public final class Health {
    private static final int PATIENCE_MS = 2000;

    private Health() {}

    public static void main(String[] words) {
        int port = Integer.parseInt(System.getenv("PORT"));
        try {
            String status = ask(port);
            if (!status.contains(" 200 ")) {
                fail("answered " + status);
            }
        } catch (IOException error) {
            fail("no answer: " + error.getMessage());
        }
    }

    /** Returns the first line of the answer of this machine's server at a port. */
    static String ask(int port) throws IOException {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), PATIENCE_MS);
            socket.setSoTimeout(PATIENCE_MS);
            String request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
            String answer = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            return answer.lines().findFirst().orElse("nothing");
        }
    }

    private static void fail(String why) {
        System.err.println(why);
        System.exit(1);
    }
}
