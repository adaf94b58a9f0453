import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/**
 * Classify standard input with the JDK's client in both of its versions, and print a line for each: version of the
 * answer, status and body.
 *
 * <p>java JavaClient.java URL < body.json
 *
 * <p>HTTP_2, the default, sends its first request with {@code Upgrade: h2c} on a plain connection.
 */
public class JavaClient {
    public static void main(String[] arguments) throws Exception {
        byte[] body = System.in.readAllBytes();
        for (HttpClient.Version version : HttpClient.Version.values()) {
            HttpClient client = HttpClient.newBuilder().version(version).build();
            for (int index = 0; index < 2; index++) {
                HttpResponse<String> response = client.send(
                    HttpRequest.newBuilder(URI.create(arguments[0]))
                        .header("Content-Type", "application/json")
                        .POST(HttpRequest.BodyPublishers.ofByteArray(body))
                        .build(),
                    HttpResponse.BodyHandlers.ofString());
                System.out.println(version + " " + response.statusCode() + " " + response.body());
            }
        }
    }
}
