import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Send requests with the JDK's client on keep-alive connections, with pauses, and print the failures as JSON.
 *
 * <p>java RollingClient.java VERSION ADDRESS MODEL LABEL REQUESTS
 *
 * <p>VERSION is HTTP_2, which tries to upgrade each plain connection (h2c), or HTTP_1_1. Every answer must have the label
 * LABEL. One of the threads is idle most of the time.
 */
public class RollingClient {
    static final int THREADS = 3;
    static final double IDLE_SECONDS = 2.0;

    public static void main(String[] arguments) throws Exception {
        HttpClient.Version version = HttpClient.Version.valueOf(arguments[0]);
        String label = "\"label\":\"" + arguments[3] + "\"";
        HttpRequest request = HttpRequest.newBuilder(
                URI.create("http://" + arguments[1] + "/v1/models/" + arguments[2] + ":classify"))
            .header("Content-Type", "application/json")
            .timeout(Duration.ofSeconds(30))
            .POST(HttpRequest.BodyPublishers.ofString("{\"texts\": [\"word1 good\"]}"))
            .build();
        AtomicInteger left = new AtomicInteger(Integer.parseInt(arguments[4]));
        AtomicInteger sent = new AtomicInteger();
        List<String> failures = Collections.synchronizedList(new ArrayList<>());
        List<Thread> threads = new ArrayList<>();
        for (int index = 0; index < THREADS; index++) {
            boolean idle = index == 0;
            // A client keeps a pool of connections; one for each thread keeps the idle thread's connection idle.
            HttpClient client = HttpClient.newBuilder().version(version).build();
            Random random = new Random(13);
            Thread thread = new Thread(() -> {
                while (left.getAndDecrement() > 0) {
                    long started = 0;
                    String failure = null;
                    try {
                        if (idle) {
                            Thread.sleep((long) (random.nextDouble() * IDLE_SECONDS * 1000));
                        }
                        started = System.currentTimeMillis();
                        HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
                        if (response.statusCode() != 200 || !response.body().contains(label)) {
                            failure = response.statusCode() + " " + response.body();
                        }
                    } catch (Exception error) {
                        failure = error.toString();
                    }
                    sent.incrementAndGet();
                    if (failure != null) {
                        double seconds = (System.currentTimeMillis() - started) / 1000.0;
                        failures.add("{\"time\": " + started / 1000.0 + ", \"seconds\": " + seconds
                            + ", \"failure\": \"" + failure.replaceAll("[\"\\\\\\p{Cntrl}]", "'") + "\"}");
                    }
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println("{\"sent\": " + sent + ", \"failures\": " + failures + "}");
    }
}
