/*
 * Japanese, without spaces. Artists and restaurants are invented. The form of the tables is explained in
 * synth_tables.h.
 */
#include "synth_tables.h"

static const synth_room ja_rooms[SYNTH_N_ROOMS] = {
    {"台所", "台所で", "台所の"}, {"寝室", "寝室で", "寝室の"}, {"浴室", "浴室で", "浴室の"}, {"リビング", "リビングで", "リビングの"},
    {"書斎", "書斎で", "書斎の"}, {"廊下", "廊下で", "廊下の"}};

static const synth_day ja_days[SYNTH_N_DAYS] = {
    {"月曜日", "月曜日に"}, {"火曜日", "火曜日に"}, {"水曜日", "水曜日に"}, {"木曜日", "木曜日に"}, {"金曜日", "金曜日に"}, {"土曜日", "土曜日に"},
    {"日曜日", "日曜日に"}};

static const char *const ja_names[] = {
    "田中", "佐藤", "鈴木", "高橋", "伊藤", "渡辺", "山本", "中村", "小林", "加藤", "吉田", "山田", "佐々木", "山口", "松本", "井上", "木村",
    "斎藤", "清水", "山崎", "池田", "橋本", "阿部", "石川", "前田", "藤田", "小川", "岡田", "後藤", "長谷川", "村上", "近藤", "石井", "坂本",
    "遠藤", "青木", "藤井", "西村", "福田", "太田", "三浦", "藤原", "松田", "中川", "原田", "小野", "田村", "竹内", "金子", "和田", "中山",
    "石田", "上田", "森田", "柴田", "酒井", "工藤", "横山", "宮崎", "内田", "高木", "安藤", "谷口", "大野", "丸山", "今井", NULL};

static const char *const ja_cities[] = {
    "東京", "大阪", "京都", "札幌", "仙台", "名古屋", "神戸", "福岡", "広島", "横浜", "川崎", "千葉", "新潟", "金沢", "静岡", "浜松", "岡山",
    "熊本", "鹿児島", "長崎", "大分", "那覇", "松山", "高松", "徳島", "高知", "奈良", "和歌山", "岐阜", "長野", "甲府", "富山", "福井", "松江",
    "鳥取", "山形", "秋田", "青森", "盛岡", "福島", "水戸", "宇都宮", "前橋", "函館", "旭川", "釧路", "姫路", "倉敷", "下関", "佐賀", "パリ",
    "ロンドン", "ローマ", "ベルリン", "ソウル", "台北", "北京", "シドニー", "バンコク", "マドリード", "ハワイ", "ウィーン", NULL};

static const char *const ja_artists[] = {
    "銀の港", "紙のきつね", "青い彗星", "北のランタン", "銅の月", "静かなエンジン", "ガラスの草原", "真夜中果樹園", "空の松林", "電気ティーカップ", "なくした傘",
    "金色ノイズ", "川とさび", "大理石の空", "ブリキすずめ", "海通り九番", "むらさき衛星", "のろいロケット", "冬のカルーセル", "ネオン水夫", "木の星", "水晶パレード",
    "日曜マシン", "青い羅針盤", "こだまの庭", "砂漠合唱団", "レモン王国", "落ちる地図", "かみなり小屋", "夜のパン屋", "サフランの狼", "遠い凧", "白い汽車",
    "正直な幽霊", "雲の海原", "ロケット食堂", "緑のピアノ", "霧の谷間", "七つの灯台", "光の橋", NULL};

static const char *const ja_restaurants[] = {
    "青い灯", "銅なべ亭", "赤とびら", "もみじ庵", "はらぺこ狐", "みどり屋", "銀のさじ", "塩いかり", "いちじく", "古い水車", "夕やけテラス", "金の泡立て",
    "こしょう亭", "港の見える家", "石がま亭", "レモンの木", "やなぎ荘", "さびフォーク", "バジル小路", "石橋茶屋", "角の皿", "野いちご", "杉の間", "大かし亭",
    "サフラン宮", "月あかり", "鉄なべ屋", "川のうた", "トマト通り", "青かき亭", "庭の門", "松と炭", "ビロード", "果樹園通り", "小さなナポリ", "ねずの木",
    "白すもも", "こはく", "シナモン横丁", "竹の音", NULL};

static const char *const ja_titles[] = {
    "会議", "歯医者", "ヨガ教室", "映画の夜", "読書会", "ピアノのレッスン", "企画の確認", "家族の夕食", "車の点検", "予算の相談", "誕生日会", "旅行の計画",
    "面接", "水泳の練習", "保護者会", "デザイン講座", "売上報告", "庭の手入れ", "眼科", "役員会", "サッカーの練習", "お茶の時間", "絵画教室", "家の見学",
    "税金の相談", "ダンス教室", "製品の紹介", "お客様との電話", "合唱の練習", "ゲームの夜", "予防接種", "英語のレッスン", "写真撮影", "昼食会", "将棋クラブ",
    "血液検査", "定例会", "料理教室", "安全講習", "美容院", NULL};

static const char *const ja_items[] = {
    "昼食", "タクシー", "電車の切符", "ホテル", "駐車場", "コーヒー", "本", "コピー用紙", "花", "ガソリン", "夕食", "朝食", "切手", "ソフト",
    "ヘッドホン", "キーボード", "椅子", "電話", "おやつ", "食料品", "博物館", "バス", "ペン", "宅配便", "贈り物", "散髪", "靴", "薬", "電池", "傘",
    NULL};

static const char *const ja_products[] = {
    "ノート", "鉛筆", "マグカップ", "ランプ", "ファイル", "封筒", "水筒", "椅子", "ろうそく", "タオル", "枕", "お皿", "グラス", "電球", "電池",
    "ケーブル", "リュック", "ポスター", "シール", "名札", "黒板", "マーカー", "カレンダー", "箱", "毛布", "かご", "鏡", "時計", "お盆", "フック",
    NULL};

static const char *const ja_texts[] = {
    "少し遅れます", "電話をください", "またあとで", "お誕生日おめでとう", "家に着きました", "夕食ができました", "がんばってね", "いろいろありがとう", "今向かっています",
    "牛乳を買って", "電車が遅れています", "会議は中止です", "よい旅を", "お大事に", "今どこですか", "見つけました", "また明日会おう", "話があります", "もうすぐ着きます",
    "パソコンを持ってきて", "大丈夫です", "よくできました", "ドアを開けて", "待っていてね", NULL};

static const synth_phrases ja_phrases[SYNTH_N_INTENTS] = {
    [SYNTH_SET_LIGHT] =
        {{"{room}の照明を{level}%にして。", "{room}の明かりを{level}%にしてください。", "{room}のライトは{level}%でお願い。",
          "{room}の電気を{level}%にして。", "照明を{level}%に、{room}です。", "{room}を{level}%の明るさにして。",
          "明るさ{level}%、{room}の照明をお願い。", "{room}の照明、{level}%。", "{room}のランプを{level}%に変えて。"},
         {"{room}の照明を{level}%にしてもらえますか。", "{room}の明かりを{level}%に変えてください。", "{room}のライトを{level}%にしてほしいです。"},
         {"はい、{room}の照明は{level}%です。", "{room}の明かりを{level}%にしました。", "完了です。{room}は{level}%の明るさです。",
          "わかりました。{room}のランプは{level}%です。"}},
    [SYNTH_SET_HEATING] =
        {{"{room}の暖房を{degrees}度にして。", "{room}を{degrees}度にしてください。", "{room}の温度は{degrees}度でお願い。",
          "暖房を{degrees}度に、{room}です。", "{room}を{degrees}度まで暖めて。", "{room}の暖房、{degrees}度。",
          "{room}は{degrees}度がいいです。",
          "{degrees}度にして、{room}の暖房を。", "{room}の設定温度を{degrees}度に。"},
         {"{room}の暖房を{degrees}度にしてもらえますか。", "{room}を{degrees}度に暖めてください。", "{room}の温度を{degrees}度にしてほしいです。"},
         {"はい、{room}の暖房は{degrees}度です。", "{room}を{degrees}度にしました。", "完了です。{room}は{degrees}度になります。",
          "わかりました。{room}の温度は{degrees}度です。"}},
    [SYNTH_PLAY_MUSIC] =
        {{"{artist}をかけて。", "{artist}の曲を流して。", "{artist}が聞きたい。", "{artist}をお願い。", "{artist}の音楽をかけてください。",
          "{artist}を聞かせて。", "何か{artist}の曲をかけて。", "音楽は{artist}で。", "{artist}を流してくれる？"},
         {"{artist}の曲を聞きたいです。", "{artist}の音楽を流してもらえますか。", "{artist}の曲をかけてください。"},
         {"はい、{artist}をかけます。", "{artist}の曲を流します。", "今かかっているのは{artist}です。", "わかりました。{artist}の音楽です。"},
         {"{artist}を探して流してください。", "{artist}の気分です。", "今{artist}を聞けますか。", "{artist}の新しい曲を流して。",
          "{artist}を少し聞きたいです。", "{artist}の歌をお願いします。"}},
    [SYNTH_SET_ALARM] =
        {{"{time}にアラームをセットして。", "{time}に起こして。", "{time}のアラームをお願い。", "目覚ましを{time}にして。", "{time}に起こしてください。",
          "アラームは{time}で。", "{time}に目覚ましをかけて。", "明日は{time}に起きます。", "{time}にアラームを鳴らして。"},
         {"{time}に起こしてもらえますか。", "アラームを{time}にセットしてください。", "{time}に目覚ましをお願いします。"},
         {"はい、アラームは{time}です。", "{time}に起こします。", "アラームを{time}にセットしました。", "わかりました。{time}に鳴らします。"}},
    [SYNTH_CREATE_EVENT] =
        {{"{day}の{time}に{title}を入れて。", "{day}{time}、{title}を予定に追加して。", "予定：{title}、{day}、{time}。",
          "{title}を{day}の{time}に登録して。", "{day}の{time}は{title}です。予定に入れて。", "{title}は{day}{time}から。追加して。",
          "カレンダーに{title}、{day}{time}。", "{time}から{title}、{day}です。登録して。", "新しい予定、{day}{time}、{title}。"},
         {"{day}の{time}に{title}を追加してください。", "{title}を{day}{time}の予定に入れてください。",
          "{day}{time}に{title}を登録してもらえますか。"},
         {"はい、{day}の{time}に{title}です。", "{title}を{day}{time}に入れました。", "追加しました：{title}、{day}、{time}。",
          "わかりました。{day}の{time}は{title}です。"},
         {"{day}の{time}に{title}を書いておいてください。", "{title}を{day}の{time}に入れてもらえますか。",
          "{day}{time}に{title}をお願いします。", "{title}を{day}{time}で予約表に加えて。",
          "{day}の{time}、{title}を忘れないように。", "予定表に{day}{time}の{title}を追加して。"}},
    [SYNTH_SEND_MESSAGE] =
        {{"{to}さんに「{text}」と伝えて。", "{to}さんに「{text}」と送って。", "「{text}」と{to}さんに送って。", "{to}さんへメッセージ：{text}。",
          "{to}さんに連絡：{text}。", "{to}さんに「{text}」とメールして。", "「{text}」を{to}さんに伝えてください。", "{to}さん宛て：{text}。",
          "{to}さんに「{text}」と書いて。"},
         {"{to}さんに「{text}」と送ってください。", "「{text}」と{to}さんに伝えてもらえますか。", "{to}さんにメッセージで「{text}」と伝えて。"},
         {"はい、{to}さんに「{text}」と伝えます。", "{to}さんに送りました：{text}。", "「{text}」と{to}さんに書きました。",
          "わかりました。{to}さんへ「{text}」と送ります。"},
         {"{to}さんに「{text}」と知らせてください。", "「{text}」と{to}さんにメールしてもらえますか。", "{to}さんに「{text}」と連絡して。",
          "「{text}」を{to}さんに送りたいです。", "{to}さんへ「{text}」とお願いします。"}},
    [SYNTH_FIND_FLIGHT] =
        {{"{from}から{to}までの便を探して。", "{from}から{to}へ飛びたい。", "{from}から{to}の飛行機をお願い。", "{from}発{to}行きの便は？",
          "{to}行きの便、出発は{from}。", "{from}から{to}へのフライトを見せて。", "{to}まで飛行機で、{from}から。", "{from}発{to}行きを探して。",
          "飛行機で{from}から{to}へ行きます。便を探して。"},
         {"{from}から{to}までの飛行機を探してください。", "{from}から{to}への便がほしいです。", "{from}発{to}行きの便を見つけてもらえますか。"},
         {"はい、{from}から{to}までの便です。", "{from}発{to}行きを探します。", "{from}から{to}への飛行機を見ます。",
          "わかりました。{from}から{to}のフライトです。"},
         {"{from}から{to}への便を見せてもらえますか。", "{to}への飛行機を{from}から探しています。", "{from}発{to}行きの飛行機がほしいです。"}},
    [SYNTH_BOOK_HOTEL] =
        {{"{city}のホテルを{nights}泊予約して。", "{city}で{nights}泊、ホテルをお願い。", "{city}に{nights}泊します。ホテルを取って。",
          "ホテルを{city}で{nights}泊。", "{nights}泊、{city}のホテルを予約して。", "{city}のホテル、{nights}泊でお願いします。",
          "{city}で{nights}泊できるホテルを取って。", "{city}の宿を{nights}泊分予約して。", "{nights}泊で{city}のホテルを探して。"},
         {"{city}のホテルを{nights}泊予約してもらえますか。", "{city}で{nights}泊のホテルを取ってください。",
          "{city}に{nights}泊、ホテルを予約してください。"},
         {"はい、{city}のホテルを{nights}泊です。", "{city}で{nights}泊、予約しました。", "完了です。{city}に{nights}泊です。",
          "わかりました。{city}のホテル、{nights}泊です。"},
         {"{city}で{nights}泊の部屋を探してもらえますか。", "{city}のホテルに{nights}泊したいです。", "{city}の部屋を{nights}泊取ってください。"}},
    [SYNTH_BOOK_TABLE] =
        {{"{name}を{time}に{people}人で予約して。", "{time}に{name}、{people}人でお願い。", "{people}人で{name}の席を{time}に取って。",
          "{name}に{people}人、{time}です。予約して。", "席の予約：{name}、{people}人、{time}。", "{name}で{time}に{people}人で食べたい。",
          "{time}、{people}人、店は{name}。予約をお願い。", "{people}人の席を{name}で{time}に。",
          "{name}の席を{people}人分、{time}に予約。"},
         {"{name}を{people}人で{time}に予約してもらえますか。", "{time}に{people}人で{name}の席を取ってください。",
          "{name}の予約を{people}人、{time}でお願いします。"},
         {"はい、{name}を{people}人、{time}です。", "{name}を{time}に{people}人で予約しました。", "完了です。{people}人、{name}、{time}。",
          "わかりました。{name}の席は{people}人、{time}です。"},
         {"{name}で{time}に{people}人、食事できますか。", "{people}人で{time}に{name}を予約したいです。",
          "{name}の席を{time}に{people}人分お願いします。", "{time}の{name}を{people}人で取ってもらえますか。",
          "{name}に{time}、{people}人の席がほしいです。"}},
    [SYNTH_CONTACT] =
        {{"新しい連絡先：{name}、{city}、{phone}。", "{city}の{name}さん、電話は{phone}。", "{name}さんは{city}在住、番号は{phone}。",
          "{city}の{name}です。電話番号は{phone}です。", "{name}さんの番号は{phone}、{city}の人です。",
          "連絡先、{name}、電話{phone}、住まいは{city}。",
          "{phone}は{city}の{name}さんの電話です。", "{name}さん、{phone}、{city}と書いて。", "{city}の{name}さんを{phone}で登録して。"},
         {"{city}の{name}さんの電話番号は{phone}です。", "{name}さん、{city}、{phone}を登録してください。",
          "連絡先に{city}の{name}さん、{phone}を追加して。"},
         {"はい、{city}の{name}さん、電話は{phone}です。", "登録しました：{name}さん、{city}、{phone}。",
          "{city}の{name}さんの番号は{phone}です。",
          "わかりました。{name}さん、{city}、{phone}です。"},
         {"{city}の{name}さん、{phone}を書いてください。", "{name}さんの電話は{phone}、{city}に住んでいます。",
          "{city}にいる{name}さんの番号は{phone}です。"}},
    [SYNTH_EXPENSE] =
        {{"{item}に{amount}円使いました。", "経費：{item}、{amount}円。", "{item}で{amount}円払いました。", "{amount}円、{item}です。",
          "{item}の代金は{amount}円。", "{item}、{amount}円を記録して。", "{amount}円を{item}につけて。", "{item}は{amount}円でした。",
          "支出は{item}で{amount}円。"},
         {"{item}に{amount}円払いました。", "{item}の支出は{amount}円です。", "{item}で{amount}円を記録してください。"},
         {"はい、{item}に{amount}円です。", "記録しました：{item}、{amount}円。", "{item}は{amount}円ですね。",
          "わかりました。{item}で{amount}円です。"},
         {"{item}に{amount}円かかりました。", "{item}、{amount}円を書いてください。", "{amount}円の{item}を支出に加えて。",
          "{item}のために{amount}円を払いました。"}},
    [SYNTH_ORDER] =
        {{"{product}を{count}個注文して。", "{product}が{count}個ほしい。", "{product}を{count}個お願いします。",
          "注文：{product}、{count}個。",
          "{count}個の{product}を買って。", "{product}、{count}個ください。", "{product}を{count}個送って。",
          "{count}個、{product}を注文します。",
          "{product}が{count}個いります。"},
         {"{product}を{count}個注文してもらえますか。", "{product}を{count}個買ってください。", "{product}が{count}個必要です。"},
         {"はい、{product}を{count}個ですね。", "ご注文は{product}、{count}個です。", "{product}を{count}個注文しました。",
          "わかりました。{product}{count}個です。"},
         {"{product}を{count}個用意してください。", "{product}を{count}個買いたいです。", "{count}個の{product}を頼みます。"}},
    [SYNTH_APPOINTMENT] =
        {{"{name}さんは{day}の{time}に来ます。", "予約：{name}、{day}、{time}。", "{name}です。{day}{time}に行けます。",
          "{day}の{time}に{name}さんの予約を。", "{name}さん、{day}{time}でお願い。", "{day}{time}、{name}さんです。",
          "{time}に{name}さん、{day}です。", "{name}さんを{day}の{time}に入れて。", "面談は{day}{time}、{name}さん。"},
         {"{day}の{time}に{name}さんが来ます。", "{name}さんの予約を{day}{time}にしてください。", "{name}さんは{day}{time}です。書いてください。"},
         {"はい、{name}さんは{day}の{time}です。", "記録しました：{name}さん、{day}、{time}。", "{day}{time}に{name}さんの予約です。",
          "わかりました。{name}さん、{day}の{time}です。"},
         {"{name}さんを{day}{time}に書いてください。", "{name}さんが{day}の{time}に来たいそうです。",
          "{day}の{time}を{name}さんに取ってください。"}},
    [SYNTH_TRIP] =
        {{"{from}から{to}へ{nights}泊の旅行です。", "{from}から{to}へ行き、{nights}泊します。", "旅行：{from}から{to}、{nights}泊。",
          "{to}に{nights}泊、出発は{from}。", "{from}を出て{to}に{nights}泊。", "{nights}泊で{from}から{to}へ。",
          "{from}発、{to}に{nights}泊の旅です。", "出張は{from}から{to}、{nights}泊です。", "{to}へ旅行、{from}から、{nights}泊。"},
         {"{from}から{to}まで{nights}泊の旅行をします。", "{to}に{nights}泊の旅行、{from}から出発です。",
          "{from}から{to}へ{nights}泊で行きたいです。"},
         {"はい、{from}から{to}へ{nights}泊です。", "旅行は{from}から{to}、{nights}泊ですね。", "{from}発、{to}に{nights}泊です。",
          "わかりました。{from}から{to}、{nights}泊の旅です。"},
         {"{from}から{to}に{nights}泊で行きます。", "{to}への旅行を{from}から{nights}泊で書いて。",
          "{from}を出発して{to}に{nights}泊したいです。"}},
    [SYNTH_PERSON] =
        {{"{name}さんは{age}歳で{city}に住んでいます。", "{name}です。{age}歳、{city}から来ました。", "{name}、{age}歳、{city}。",
          "{city}の{name}さんは{age}歳です。", "こちらは{name}さん、{age}歳、{city}の人です。", "{city}に{age}歳の{name}さんがいます。",
          "名前は{name}、年は{age}歳、町は{city}。", "{age}歳の{name}さんは{city}在住です。", "{city}在住の{name}、{age}歳です。"},
         {"{city}に住む{name}さんは{age}歳です。", "{name}さん、{age}歳、{city}から来ました。", "私は{city}の{name}、{age}歳です。"},
         {"はい、{city}の{name}さん、{age}歳です。", "{name}さんは{age}歳、{city}在住ですね。", "記録しました：{name}さん、{age}歳、{city}。",
          "わかりました。{name}さんは{city}の人で{age}歳です。"},
         {"{city}から来た{name}です。{age}歳です。", "友達の{name}さんは{city}の人で{age}歳です。",
          "{age}歳の{name}と言います。{city}に住んでいます。"}},
    [SYNTH_SET_TIMER] =
        {{"{minutes}分のタイマーをかけて。", "タイマーを{minutes}分にして。", "{minutes}分たったら教えて。", "{minutes}分のタイマーをお願い。",
          "{minutes}分を計って。"},
         {NULL},
         {"はい、{minutes}分のタイマーです。", "タイマーを{minutes}分にしました。", "今から{minutes}分です。"}},
    [SYNTH_GET_WEATHER] =
        {{"{day}の{city}の天気は？", "{city}の{day}の天気を教えて。", "{day}に{city}で雨は降る？", "{city}、{day}の天気をお願い。",
          "{city}の天気予報、{day}。"},
         {NULL},
         {"{day}の{city}の天気を調べます。", "{city}の{day}の予報ですね。", "はい、{day}、{city}の天気です。"}},
};

static const char *const ja_open[] = {"こんにちは。", "すみません、", "おはよう。", "ねえ、", "お願いです。", "一つお願い。", NULL};
static const char *const ja_open_held[] = {"こんばんは。", "ちょっとすみません。", "お願いします。", NULL};

static const synth_pair ja_chat[] = {
    {"こんにちは。", "こんにちは。何をお手伝いしましょうか。"},
    {"どうもありがとう。", "どういたしまして。"},
    {"元気ですか。", "元気です。ありがとう。"},
    {"冗談を言って。", "冗談よりお手伝いのほうが得意です。"},
    {"名前は何ですか。", "あなたのアシスタントです。"},
    {"この本は誰が書きましたか。", "すみません、わかりません。"},
    {"退屈です。", "少し散歩するのはどうですか。"},
    {"おやすみ。", "おやすみなさい。"},
    {"猫は好きですか。", "猫はかわいい動物ですね。"},
    {"人生の意味は何ですか。", "それは大きな問いですね。"},
    {"料理はできますか。", "できませんが、計画は手伝えます。"},
    {"とてもよかった。", "喜んでもらえてうれしいです。"},
    {NULL, NULL}};

static const char *const ja_keys[] = {
    "名前", "町", "電話", "通り", "色", "番号", "品物", "動物", "曜日", "時間", "値段", "客", "題名", NULL};
static const char *const ja_ask[] = {"{key}は何ですか。", "{key}を教えて。", "{key}には何とありますか。", "{key}は？", NULL};
static const char *const ja_repeat[] = {"くり返して：{items}", "もう一度言って：{items}", "写して：{items}", NULL};
static const char *const ja_list[] = {"一行に一つずつ：{items}", "リストにして：{items}", NULL};
static const char *const ja_syllables[] = {
    "山", "田", "川", "中", "小", "大", "木", "村", "松", "井", "石", "高", "野", "原", "上", "森", "林", "島", "橋", "岡", "藤",
    "佐", "伊", "加", "和", "長", "福", "宮", "金", "青", "赤", "白", "花", "月", "空", "海", "庭", "夜", "光", "音", "会", "話",
    "紙", "車", "水", "店", "灯", "町", "北", "南", "東", "西", "ア", "イ", "ウ", "カ", "キ", "ク", "サ", "シ", "ス", "タ", "ト",
    "ナ", "ノ", "パ", "ビ", "フ", "マ", "メ", "ラ", "リ", "ル", "レ", "ロ", "あ", "い", "う", "か", "き", "く", "さ", "し", "す",
    "た", "つ", "て", "な", "の", "は", "ま", "も", "ら", "り", "る", "わ", NULL};

const synth_lang synth_ja = {
    .locale = "ja-JP", .rooms = ja_rooms, .days = ja_days,
    .pools = {ja_names, ja_cities, ja_artists, ja_restaurants, ja_titles, ja_items, ja_products, ja_texts},
    .phrases = ja_phrases, .open = ja_open, .open_held = ja_open_held, .chat = ja_chat,
    .keys = ja_keys, .ask = ja_ask, .repeat = ja_repeat, .list = ja_list,
    .syllables = ja_syllables, .comma = "、", .swap = NULL};
