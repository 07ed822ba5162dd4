import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;

/**
 * Writes a trust store from a bundle of certificates, since Java does not read PEM: {@code java Trust.java PEM STORE}.
 * There is nothing secret and no chance in it, so the same certificates give the same bytes.
 */
final class Trust {
    public static void main(String[] words) throws Exception {
        System.setProperty("keystore.pkcs12.certProtectionAlgorithm", "NONE");
        System.setProperty("keystore.pkcs12.macAlgorithm", "NONE");
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        try (InputStream pem = Files.newInputStream(Path.of(words[0]))) {
            int number = 0;
            for (Certificate each : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
                store.setCertificateEntry("%04d".formatted(number++), each);
            }
        }
        try (OutputStream out = Files.newOutputStream(Path.of(words[1]))) {
            store.store(out, new char[0]);
        }
    }
}
