//! Digests of texts that everyone knows, such as nothing or `password`: a script that hashes an
//! unset variable makes one, and it looks like a random secret.

use sha2::{Digest, Sha256, Sha384, Sha512};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Digests are compared by their first bytes, so that one that was cut short is found too. A random
/// secret begins like one of the thousands of digests in one of 10^15 cases.
const COMPARED_BYTES: usize = 8;
/// Characters of base64 that hold the compared bytes as hex digits.
const BASE64_OF_HEX: usize = (2 * COMPARED_BYTES * 8).div_ceil(6);
/// What some tools write before a digest.
const ALGORITHMS: [&str; 5] = ["md5", "sha1", "sha256", "sha384", "sha512"];

static KNOWN: LazyLock<BTreeSet<u64>> = LazyLock::new(|| {
    let mut known: BTreeSet<u64> = BTreeSet::new();
    for line in WORDS {
        let (word, old) = line.split_once(' ').expect("a word and its digests");
        known.extend(old.split(' ').filter_map(of_hex));
        for text in spellings(word) {
            known.extend(sha2_digests(&text));
            known.extend(sha2_digests(&format!("{text}\n")));
        }
    }
    known
});

/// Returns whether the text is the digest of nothing, of a newline or of a common word, in hex or
/// base64, or begins with it.
pub(super) fn is_known_digest(text: &str) -> bool {
    let digest = without_algorithm(text);
    let decoded = decode_base64(digest);
    let in_hex = std::str::from_utf8(&decoded).ok().and_then(of_hex);

    [of_hex(digest), leading_bytes(&decoded), in_hex]
        .iter()
        .flatten()
        .any(|bytes| KNOWN.contains(bytes))
}

/// Removes a prefix such as `sha256:` or `sha256-`.
fn without_algorithm(text: &str) -> &str {
    let behind = |algorithm: &&str| {
        let start = text.get(..algorithm.len())?;
        let rest = text.get(algorithm.len()..)?;
        start
            .eq_ignore_ascii_case(algorithm)
            .then(|| rest.strip_prefix([':', '-', '=']))
            .flatten()
    };
    ALGORITHMS.iter().find_map(behind).unwrap_or(text)
}

/// The compared bytes of a text of hex digits.
fn of_hex(text: &str) -> Option<u64> {
    let digits = text.get(..2 * COMPARED_BYTES)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

fn leading_bytes(bytes: &[u8]) -> Option<u64> {
    bytes
        .first_chunk::<COMPARED_BYTES>()
        .map(|first| u64::from_be_bytes(*first))
}

/// The bytes at the start of a text in base64 or base64url, up to the first character that is of
/// neither.
fn decode_base64(text: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut pending = 0_u32;
    let mut bits = 0;
    for value in text.bytes().take(BASE64_OF_HEX).map_while(base64_value) {
        pending = ((pending << 6) | u32::from(value)) & 0x3fff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            let [_, _, _, byte] = (pending >> bits).to_be_bytes();
            decoded.push(byte);
        }
    }
    decoded
}

fn base64_value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// The word as it stands, in capitals, and with a capital at the start.
fn spellings(word: &str) -> [String; 3] {
    let mut capitalized = word.to_owned();
    if let Some(first) = capitalized.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    [word.to_owned(), word.to_ascii_uppercase(), capitalized]
}

fn sha2_digests(text: &str) -> [u64; 3] {
    [
        first_bytes(Sha256::digest(text).as_slice()),
        first_bytes(Sha384::digest(text).as_slice()),
        first_bytes(Sha512::digest(text).as_slice()),
    ]
}

fn first_bytes(digest: &[u8]) -> u64 {
    leading_bytes(digest).expect("a digest has more bytes than are compared")
}

/// Common words and what stands for a secret. Behind each are the first bytes of its digests by the
/// algorithms that are not among the dependencies: MD5 and SHA-1, each without and with a newline
/// after the word.
const WORDS: &[&str] = &[
    " d41d8cd98f00b204 68b329da9893e340 da39a3ee5e6b4b0d adc83b19e793491b",
    "changeme 4cb9c8a8048fd022 6ac371cc3dc9d38c fa9beb99e4029ad5 019768a0e586a21e",
    "change-me 0f0bf2567ec11169 926bae5fe34deeff e8d4a2f731a2b37f be11049767e33d3d",
    "change_me bbbb2edef660739a 1919e106b7bcd614 ea72f7010dd797a0 18fc2109be92eb53",
    "changethis 925ad2679b095816 7f5f8815dc72e3dd cdb0e76c1a69873c 8c60f7f6ce11d18e",
    "change-this 52a93cfeb0b5fdf2 27e62b9f074beb63 7bb34866d45c3a48 4bd9a3b84297ed4b",
    "change_this 7acf52c3d08d2b86 0266e18dba928213 5feb282b687db1d1 454ad4eeae3a019c",
    "changeit b91cd1a54781790b 5f243f591418ebdc 07313f0e320f22cb 0b38a0fe6e52e360",
    "replaceme c19dde4a62d97bd3 a37c0723b63bae8b e0790a1f4222baa4 03bfac0d3697159d",
    "replace-me 7052c71c4f702cbf 54a37dcd9fd18e44 9cb0dc5383312aa1 c44b9d8dcfff9961",
    "replace_me 8001705594d6c97f 36daed46646488a3 f32a07369c6fd4ea ee59dc376742cedf",
    "replacethis c42864470369470a 136480634bdc8ea3 eb9e5410f01677e2 f0bed2ff4008320e",
    "replacewith 5a92f21766fafb63 5a52fe42881d23d6 c592657ea474f094 fed8e5691c6ccf10",
    "yoursecret 45375bcef0f97c42 b0408a91916f0611 dd1464f856c74f96 948a8e0c5cbc3cb7",
    "your-secret 1ec2cbc1ee6335ad ee1a6963d747df50 29c32f233d04598b 9e43caf908d6eb3c",
    "your_secret f5c20a6b3dad61f6 45231e2decaee78e d1b7e1c27fc85c2b 0ca7724867e7fb0a",
    "your-secret-key 826657a98e396172 4cc3f991aec729aa 33f220dd67f717cc 9d78bb2dafaa7b1f",
    "yourkeyhere b954111505cb29d7 5ed2f419f86ebd6d 4652cc342e0cde0f 2c4e76e4854389e1",
    "your-key-here 98ab57f5370eaf78 f97f1b706e88cdc1 a8253456364f1bfc 522c7dda818fe939",
    "insertsecret e2d1146844cea22f 8eb095c893927681 1beeca50cd1d0756 757aa54b38be389e",
    "insertkey 25109f5ebb6a6971 a3a9cf9a36e29dda 579982bec21af18d 9a368d61ba1eb64d",
    "placeholder 6a99c575ab87f8c7 178164f81917b8e8 ff55435345834a3f 12abdd31cf62e1aa",
    "password 5f4dcc3b5aa765d6 286755fad04869ca 5baa61e4c9b93f3f c8fed00eb2e87f1c",
    "password1 7c6a180b36896a0a 10b222970537b979 e38ad214943daad1 a4483ce7bd708399",
    "password123 482c811da5d5b4bc 7576f3a00f6de47b cbfdac6008f9cab4 bab1298d948ebb34",
    "passw0rd bed128365216c019 71d00b760d017b29 7c6a61c68ef8b9b6 e343f0ffdbc90c69",
    "p@ssw0rd 0f359740bd1cda99 f004031e832ec5e5 57b2ad99044d3371 e576d06e31006dd7",
    "passphrase d3eb8e78cad217d1 fbdd7a766f429f25 6210274434052f20 64bbe12e62d4f3c7",
    "pass 1a1dc91c907325c6 4528e6a7bb9341c3 9d4e1e23bd5b7270 8910ee7d68dfff68",
    "secret 5ebe2294ecd0e0f0 dd02c7c223275987 e5e9fa1ba31ecd1a fc683cd9ed1990ca",
    "secretkey 610a2ee688cda9e7 a3b6cbd250efe364 9885f8af04289135 0ccdeb59dda1d249",
    "secret-key 33b9b3de94a42d19 b1846319bd7f7e3e dff6d4ff5dc357cf 240c1eab513ee391",
    "secret_key 73eeac3fa1a0ce48 e7b70055cfcb47b1 83ff9f4e0d16d617 15a5f8b88521d13e",
    "supersecret 9a618248b64db62d f755389fd7986249 a761ce3a45d97e41 b29f7cb1a8aa1d8b",
    "topsecret ea847988ba59727d 072692aa1a2d7c2e 12201fe5e202883b f4affecbe0c8f6f2",
    "mysecret 06c219e5bc8378f3 510bef9b27e4ad5e e9fe51f94eadabf5 b99319c3eac1e3d5",
    "my-secret 935571b8f79add9e aefd9a754b19e3c6 5c5a15a8b0b3e154 366e7fc80075d650",
    "key 3c6e0b8a9c15224a 146c07ef2479cedc a62f2225bf70bfac e1efc99729beb175",
    "token 94a08da1fecbb6e8 f136803ab9c24107 ee977806d7286510 db4de92f933092b1",
    "session 21d6f40cfb511982 19e73828937f05e6 fcbdc4c271c88982 42f34220c26b6c33",
    "session-key 1c47721e5163e2d9 aa48157b1730513c dae4772611b2c349 0144e72aef76d221",
    "session_key eb1de644ffc232a9 ed0b42c0257ee43f 07206149f979a0c6 9688f5dbc7bb6c7b",
    "drain be2bb77e0e1f927d 346550e322c9268d 2780acf0b9085624 88aa2dc1de456570",
    "drain-secret 401647527ffff355 e16b551a56fd5ee8 13a4762fadc46462 547d34fa0bda6188",
    "drain_secret 115893ee45569434 b3643151b94e8f83 adb6a9be8a5933cc eb792e56a151020d",
    "admin 21232f297a57a5a7 456b7016a916a4b1 d033e22ae348aeb5 4015bc9ee91e437d",
    "administrator 200ceb26807d6bf9 45d1713d9bc87e2f b3aca92c793ee0e9 8fa29325be8b673e",
    "root 63a9f0ea7bb98050 74cc1c60799e0a78 dc76e9f0c0006e8f 552c0ba71b1046a0",
    "user ee11cbb19052e40b a81be4e9b2063286 12dea96fec205935 70ff9f33926b1865",
    "guest 084e0343a0486ff0 2ec099f2d602cc49 35675e68f4b5af7b 649b9c4f6931a6d2",
    "default c21f969b5f03d33d de2b14ae7499f907 7505d64a54e061b7 843c4a11660fe38e",
    "example 1a79a4d60de6718e ddce269a1e3d054c c3499c2729730a7f 7893883873a705ae",
    "sample 5e8ff9bf55ba3508 5177a58dc65c8a14 8151325dcdbae9e0 5f34ec0bfeac225b",
    "test 098f6bcd4621d373 d8e8fca2dc0f896f a94a8fe5ccb19ba6 4e1243bd22c66e76",
    "testing ae2b1fca515949e5 eb1a3227cdc3fedb dc724af18fbdd4e5 9801739daae44ec5",
    "test123 cc03e747a6afbbcb 4a251a2ef9bbf4cc 7288edd0fc3ffcbe a32ac2d7196b96b0",
    "demo fe01ce2a7fbac8fa 8aae25baff2ef9e3 89e495e7941cf9e4 9ad4cf12ea8c7c42",
    "dev e77989ed21758e78 8eec1e97ac602d32 34c6fceca75e456f d345da49668dbfc0",
    "foo acbd18db4cc2f85c d3b07384d113edec 0beec7b5ea3f0fdb f1d2d2f924e986ac",
    "foobar 3858f62230ac3c91 14758f1afd44c09b 8843d7f92416211d 988881adc9fc3655",
    "hello 5d41402abc4b2a76 b1946ac92492d234 aaf4c61ddcc5e8a2 f572d396fae92066",
    "helloworld fc5e038d38a57032 d73b04b0e696b094 6adfb183a4a2c94a e7509a8c032f3bc2",
    "letmein 0d107d09f5bbe40c 4aacf9c858c82716 b7a875fc1ea228b9 34ca062314edaa19",
    "welcome 40be4e59b9a2a2b5 0bb3c30dc72e6388 c0b137fe2d792459 85fcd345dd2c8f9e",
    "qwerty d8578edf8458ce06 a86850deb2742ec3 b1b3773a05c0ed01 3c8b9f4b983afa9f",
    "qwerty123 3fc0a7acf087f549 dca675382c7f7180 5cec175b165e3d5e 987aba9ac4329f17",
    "asdf 912ec803b2ce49e4 2b00042f7481c7b0 3da541559918a808 7d97e98f8af710c7",
    "abc123 e99a18c428cb38d5 2c6c8ab6ba8b9c98 6367c48dd193d56e 61ee8b5601a84d51",
    "abcdef e80b5017098950fc 5ab557c937e38f15 1f8ac10f23c5b5bc bdc37c074ec4ee60",
    "0 cfcd208495d565ef 897316929176464e b6589fc6ab0dc82c 09d2af8dd22201dd",
    "1 c4ca4238a0b92382 b026324c6904b2a9 356a192b7913b04c e5fa44f2b31c1fb5",
    "123 202cb962ac59075b ba1f2511fc30423b 40bd001563085fc3 a8fdc205a9f19cc1",
    "1234 81dc9bdb52d04dc2 e7df7cd2ca07f4f1 7110eda4d09e062a 1be168ff837f043b",
    "12345 827ccb0eea8a706c d577273ff885c3f8 8cb2237d0679ca88 2672275fe0c456fb",
    "123456 e10adc3949ba59ab f447b20a7fcbf53a 7c4a8d09ca3762af c4f9375f9834b4e7",
    "12345678 25d55ad283aa400a 23cdc18507b52418 7c222fb2927d828a 9806af3952e13802",
    "123456789 25f9e794323b4538 b2cfa4183267af67 f7c3bc1d808e0473 179c94cf45c6e383",
    "1234567890 e807f1fcf82d132f 7c12772809c1c0c3 01b307acba4f54f5 12039d6dd9a7e276",
    "hermes b33a4006134bb6ee bd1d2340551d510c 486b575ab9b42f83 8253a193770c166b",
    "portcullis a13d958a8500501d 0b9b87f905f37afd 2e1def045a4c9c9e ea20391b03b6312e",
    "dashboard dc7161be3dbf2250 865296646e5f071b f90453ec712ce450 eeb321ee4f751b66",
    "gateway 3e21ab62fb174003 6381cdd5b8701a8a 8a6b3c5e6ba4da6e 2698f6f464a6f246",
    "agent b33aed8f31349967 70d0b2e08bc614b5 0608c4054662dd90 83f5b2850c5e866b",
    "hunter2 2ab96390c7dbe343 6a0f0731d84afa40 f3bbbd66a63d4bf1 e0fee1adf795c84e",
    "iloveyou f25a2fc72690b780 9aa2a870d0001ea6 ee8d8728f435fd55 aa7aa8465c1a0427",
    "monkey d0763edaa9d9bd2a 2f548f61bd37f628 ab87d24bdc7452e5 744a9a056f145b86",
    "dragon 8621ffdbc5698829 c0ce0dff9996a7d4 af8978b1797b72ac 8851def716679696",
    "null 37a6259cc0c1dae2 674441960ca1ba2d 2be88ca4242c76e8 d910b02871075d31",
    "none 334c4a4c42fdb79d 7e5b152fcf63f8da 71f8e7976e4cbc45 02135ff9133db03a",
    "nil 852438d026c018c4 ec862e5b53e65c83 b5366a2d2ac98dae e958f32bf433420c",
    "undefined 5e543256c480ac57 002bcaa7be0e2aa3 d5d4cd07616a5428 959ec2a5248e8427",
    "true b326b5062b2f0e69 74d9a83219cabaab 5ffe533b830f08a0 724ba28f4a9a1b47",
    "false 68934a3e9455fa72 d42f2da1df5ecdf2 7cb6efb98ba5972a b73d74fcede92cdd",
    "unset e2181b5014a67159 8886f57c0e16d64e fff210fd342ef452 ba680de0df6812a0",
    "empty a2e4822a98337283 84b40460f8374ccb ad87109bfff0765f 15aab0fd8b937eb3",
];

#[cfg(test)]
mod tests {
    use super::super::{STAND_INS, Strength, WeakSecret, generate_secret};
    use super::*;

    #[test]
    fn digests_of_what_everyone_knows_are_found_in_each_form() {
        for digest in [
            // Nothing: MD5, SHA-1, SHA-256 in hex, base64 and base64url, SHA-384 and SHA-512.
            "d41d8cd98f00b204e9800998ecf8427e",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
            "e3b0c44298fc1c149afbf4c8996fb924",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
            "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b",
            "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
            // The SHA-256 of nothing in hex, in base64.
            "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ==",
            // A newline.
            "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b",
            "68b329da9893e34099c7d8ad5cb9c940",
            // `password`: SHA-256, MD5, SHA-1.
            "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
            "XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=",
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8",
        ] {
            assert!(is_known_digest(digest), "{digest}");
            assert_eq!(
                Strength::KEY.judge(digest),
                Err(WeakSecret::KnownDigest),
                "{digest}"
            );
        }
    }

    #[test]
    fn each_stand_in_is_among_the_words() {
        for stand_in in STAND_INS {
            let start = format!("{stand_in} ");
            let is_known = WORDS.iter().any(|line| line.starts_with(&start));
            assert!(is_known, "{stand_in}");
        }
    }

    #[test]
    fn random_secrets_and_words_are_no_known_digests() {
        for _ in 0..200 {
            let secret = generate_secret().unwrap();
            assert!(!is_known_digest(&secret));
        }
        for text in [
            "",
            "password",
            "e3b0c44298fc1c1",
            "sha256:",
            "md5",
            "caf\u{e9}-caf\u{e9}-caf\u{e9}",
        ] {
            assert!(!is_known_digest(text), "{text}");
        }
    }
}
