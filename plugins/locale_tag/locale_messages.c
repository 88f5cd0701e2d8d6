/* System messages in the language of the conversation: our wording; the option `messages` goes before it. */
#include "locale_tag.h"

#include <string.h>

static const struct {
    const char *language, *script, *text; /* script NULL: any */
} table[] = {{"en", NULL, "You are a helpful assistant. Answer clearly and in English."},
             {"de", NULL, "Du bist ein hilfreicher Assistent. Antworte klar und auf Deutsch."},
             {"fr", NULL, "Tu es un assistant serviable. Réponds clairement et en français."},
             {"es", NULL, "Eres un asistente servicial. Responde con claridad y en español."},
             {"pt", NULL, "Você é um assistente prestativo. Responda com clareza e em português."},
             {"it", NULL, "Sei un assistente disponibile. Rispondi con chiarezza e in italiano."},
             {"nl", NULL, "Je bent een behulpzame assistent. Antwoord duidelijk en in het Nederlands."},
             {"sv", NULL, "Du är en hjälpsam assistent. Svara tydligt och på svenska."},
             {"da", NULL, "Du er en hjælpsom assistent. Svar klart og på dansk."},
             {"nb", NULL, "Du er en hjelpsom assistent. Svar tydelig og på norsk."},
             {"no", NULL, "Du er en hjelpsom assistent. Svar tydelig og på norsk."},
             {"fi", NULL, "Olet avulias avustaja. Vastaa selkeästi ja suomeksi."},
             {"pl", NULL, "Jesteś pomocnym asystentem. Odpowiadaj jasno i po polsku."},
             {"cs", NULL, "Jsi užitečný asistent. Odpovídej jasně a česky."},
             {"hu", NULL, "Segítőkész asszisztens vagy. Válaszolj érthetően, magyarul."},
             {"ro", NULL, "Ești un asistent util. Răspunde clar și în limba română."},
             {"tr", NULL, "Yardımsever bir asistansın. Açık bir dille ve Türkçe yanıt ver."},
             {"el", NULL, "Είσαι ένας εξυπηρετικός βοηθός. Απάντησε καθαρά και στα ελληνικά."},
             {"ru", NULL, "Ты полезный помощник. Отвечай понятно и по-русски."},
             {"uk", NULL, "Ти корисний помічник. Відповідай зрозуміло й українською."},
             {"ar", NULL, "أنت مساعد مفيد. أجب بوضوح وباللغة العربية."},
             {"he", NULL, "אתה עוזר מועיל. ענה בבהירות ובעברית."},
             {"hi", NULL, "आप एक मददगार सहायक हैं। स्पष्ट रूप से और हिंदी में उत्तर दें।"},
             {"th", NULL, "คุณเป็นผู้ช่วยที่เต็มใจช่วยเหลือ ตอบให้ชัดเจนและเป็นภาษาไทย"},
             {"vi", NULL, "Bạn là một trợ lý hữu ích. Hãy trả lời rõ ràng bằng tiếng Việt."},
             {"id", NULL, "Anda adalah asisten yang membantu. Jawablah dengan jelas dalam bahasa Indonesia."},
             {"ja", NULL, "あなたは親切なアシスタントです。わかりやすく日本語で答えてください。"},
             {"ko", NULL, "당신은 친절한 도우미입니다. 한국어로 명확하게 답하세요."},
             {"zh", "Hant", "你是一位樂於助人的助理。請用繁體中文清楚地回答。"},
             {"zh", NULL, "你是一位乐于助人的助手。请用简体中文清楚地回答。"}};

const char *locale_message(const char *language, const char *script)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].language, language) == 0 &&
            (!table[i].script || strcmp(table[i].script, script) == 0)) {
            return table[i].text;
        }
    }
    return NULL;
}
