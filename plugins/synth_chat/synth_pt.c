/*
 * Portuguese of Brazil. Artists and restaurants are invented; cities take no article. The form of the
 * tables is explained in synth_tables.h.
 */
#include "synth_tables.h"

static const synth_room pt_rooms[SYNTH_N_ROOMS] = {
    {"cozinha", "na cozinha", "da cozinha"}, {"quarto", "no quarto", "do quarto"},
    {"banheiro", "no banheiro", "do banheiro"}, {"sala", "na sala", "da sala"},
    {"escritório", "no escritório", "do escritório"}, {"corredor", "no corredor", "do corredor"}};

static const synth_day pt_days[SYNTH_N_DAYS] = {
    {"segunda-feira", "na segunda-feira"}, {"terça-feira", "na terça-feira"},
    {"quarta-feira", "na quarta-feira"}, {"quinta-feira", "na quinta-feira"},
    {"sexta-feira", "na sexta-feira"}, {"sábado", "no sábado"}, {"domingo", "no domingo"}};

static const char *const pt_names[] = {
    "Adriana", "Alice", "Aline", "Amanda", "Ana", "André", "Antônio", "Arthur", "Augusto", "Beatriz",
    "Bento", "Bianca", "Bruna", "Bruno", "Caio", "Camila", "Carla", "Carlos", "Cauã", "Cecília", "Clara",
    "Cláudia", "Conceição", "Daniela", "Davi", "Diego", "Eduardo", "Elisa", "Enzo", "Fábio", "Felipe",
    "Fernanda", "Flávia", "Gabriela", "Gilberto", "Guilherme", "Gustavo", "Heitor", "Helena", "Henrique",
    "Igor", "Isabela", "João", "Joana", "Jorge", "José", "Júlia", "Juliana", "Larissa", "Leandro",
    "Letícia", "Lívia", "Lucas", "Luís", "Luísa", "Marcelo", "Márcia", "Maria", "Mariana", "Mateus",
    "Miguel", "Mônica", "Natália", "Otávio", "Patrícia", "Paulo", "Pedro", "Rafaela", "Renata", "Rodrigo",
    "Sônia", "Thiago", "Valentina", "Vinícius", NULL};

static const char *const pt_cities[] = {
    "Aracaju", "Belém", "Blumenau", "Brasília", "Campinas", "Campo Grande", "Canoas", "Caruaru", "Caxias",
    "Chapecó", "Criciúma", "Cuiabá", "Curitiba", "Diadema", "Feira de Santana", "Florianópolis",
    "Fortaleza", "Goiânia", "Guarulhos", "Ilhéus", "Itajaí", "Joinville", "João Pessoa", "Jundiaí",
    "Londrina", "Macapá", "Maceió", "Manaus", "Maringá", "Mossoró", "Natal", "Niterói", "Olinda", "Osasco",
    "Palmas", "Parati", "Pelotas", "Petrópolis", "Piracicaba", "Porto Alegre", "Porto Velho",
    "Ribeirão Preto", "Salvador", "Santos", "São Luís", "São Paulo", "Sorocaba", "Teresina", "Uberaba",
    "Uberlândia", "Vitória", "Lisboa", "Coimbra", "Braga", "Faro", "Luanda", "Madri", "Paris", "Roma",
    "Londres", "Berlim", "Buenos Aires", NULL};

static const char *const pt_artists[] = {
    "Porto de Prata", "Raposas de Papel", "Cometa Veludo", "Lanternas do Norte", "Lua de Cobre",
    "Motores Quietos", "Campo de Vidro", "Pomar da Noite", "Pinheiros Ocos", "Chá Elétrico",
    "Guarda-chuvas Perdidos", "Ruído Dourado", "Rio e Ferrugem", "Céus de Mármore", "Pardais de Lata",
    "Avenida Nove", "Satélites Roxos", "Foguetes Lentos", "Carrossel de Inverno", "Marinheiros Neon",
    "Estrelas de Madeira", "Desfile de Cristal", "Máquinas de Domingo", "A Bússola Azul", "Jardim do Eco",
    "Coro do Deserto", "Reis do Limão", "Mapas Caídos", "Cabana Trovão", "Padeiros da Noite",
    "Lobos de Açafrão", "Pipas Distantes", "Trens de Marfim", "Fantasmas Sinceros", "Mar de Nuvens",
    "Salão Foguete", "Pianos Verdes", "Cânion da Neblina", "Sete Faróis", "Ponte de Luz", NULL};

static const char *const pt_restaurants[] = {
    "Lanterna Azul", "Panela de Cobre", "Porta Vermelha", "Boa Mesa", "Raposa Faminta", "Casa Verde",
    "Colher de Prata", "Âncora Salgada", "Figueira", "Moinho Velho", "Terraço da Tarde", "Batedor Dourado",
    "Pimenta e Tomilho", "Vista do Porto", "Forno de Pedra", "Limoeiro", "Salgueiro", "Garfo Torto",
    "Canto do Manjericão", "Ponte de Pedra", "Prato Pequeno", "Amora Brava", "Cedro Alto",
    "Grande Carvalho", "Palácio Açafrão", "Luz da Lua", "Frigideira", "Canção do Rio", "Rua do Tomate",
    "Ostra Feliz", "Portão do Jardim", "Pinho e Brasa", "Cadeira Azul", "Laranjal", "Pequena Nápoles",
    "Zimbro", "Ameixa Branca", "Cantinho Doce", "Canela em Pau", "Tília", NULL};

static const char *const pt_titles[] = {
    "Reunião de equipe", "Dentista", "Aula de ioga", "Noite de cinema", "Clube de leitura", "Aula de piano",
    "Revisão do projeto", "Jantar em família", "Oficina do carro", "Reunião de orçamento",
    "Festa de aniversário", "Plano de férias", "Entrevista", "Natação", "Reunião de pais",
    "Oficina de design", "Relatório de vendas", "Jardinagem", "Oculista", "Conselho", "Treino de futebol",
    "Pausa do café", "Curso de desenho", "Visita à casa", "Contador", "Aula de dança", "Demonstração",
    "Conversa com cliente", "Ensaio do coral", "Noite de jogos", "Vacina", "Aula de inglês",
    "Sessão de fotos", "Almoço do time", "Clube de xadrez", "Exame de sangue", "Reunião semanal",
    "Curso de culinária", "Curso de segurança", "Cabeleireiro", NULL};

static const char *const pt_items[] = {
    "almoço", "táxi", "passagem de trem", "hotel", "estacionamento", "café", "livros", "papel", "flores",
    "gasolina", "jantar", "lanche", "selos", "software", "fones", "teclado", "cadeira", "telefone", "bolo",
    "mercado", "museu", "passagem de ônibus", "canetas", "correio", "presente", "cabeleireiro", "sapatos",
    "farmácia", "pilhas", "guarda-chuva", NULL};

static const char *const pt_products[] = {
    "cadernos", "lápis", "canecas", "luminárias", "pastas", "envelopes", "garrafas", "cadeiras", "velas",
    "toalhas", "almofadas", "pratos", "copos", "lâmpadas", "pilhas", "cabos", "mochilas", "cartazes",
    "adesivos", "crachás", "quadros", "marcadores", "calendários", "caixas", "cobertores", "cestas",
    "espelhos", "relógios", "bandejas", "ganchos", NULL};

static const char *const pt_texts[] = {
    "Vou me atrasar", "Me liga depois", "Até logo", "Feliz aniversário", "Já cheguei em casa",
    "O jantar está pronto", "Boa sorte", "Obrigado por tudo", "Estou a caminho", "Compre leite",
    "O trem atrasou", "Reunião cancelada", "Boa viagem", "Melhoras para você", "Onde você está",
    "Já encontrei", "Até amanhã", "Precisamos conversar", "Quase chegando", "Traga o notebook",
    "Sem problema", "Bom trabalho", "Abra a porta", "Espere por mim", NULL};

static const synth_phrases pt_phrases[SYNTH_N_INTENTS] = {
    [SYNTH_SET_LIGHT] =
        {{"Coloque a luz {ofroom} em {level}%.", "Baixe a luz {inroom} para {level}%.",
          "Ajuste a lâmpada {ofroom} para {level}%.",
          "Quero {level}% de luz {inroom}.", "Luz {ofroom} em {level}%, por favor.",
          "A lâmpada {ofroom} em {level}%.",
          "Mude o brilho {inroom} para {level}%.", "{level}% de luz {inroom}, obrigado.",
          "Deixe a luz {ofroom} em {level}%."},
         {"Você pode colocar a luz {ofroom} em {level}%?", "Ajuste a luz {inroom} para {level}%, por favor.",
          "Eu queria a luz {ofroom} em {level}%."},
         {"Certo, luz {ofroom} em {level}%.", "A luz {inroom} está em {level}%.",
          "Pronto: {level}% de luz {inroom}.",
          "Claro, a lâmpada {ofroom} está em {level}%."}},
    [SYNTH_SET_HEATING] =
        {{"Coloque o aquecimento {ofroom} em {degrees} graus.", "Quero {degrees} graus {inroom}.",
          "Ajuste o aquecimento {inroom} para {degrees} graus.",
          "Aqueça para {degrees} graus {inroom}.", "Preciso de {degrees} graus {inroom}.",
          "Aquecimento {ofroom} em {degrees} graus, obrigado.",
          "Suba o aquecimento {ofroom} para {degrees} graus.", "{degrees} graus {inroom}, por favor.",
          "O termostato {ofroom} em {degrees} graus."},
         {"Você pode colocar o aquecimento {ofroom} em {degrees} graus?",
          "Eu queria {degrees} graus {inroom}.",
          "Ajuste o termostato {ofroom} para {degrees} graus."},
         {"Certo, aquecimento {ofroom} em {degrees} graus.", "Vai fazer {degrees} graus {inroom}.",
          "Pronto: {degrees} graus {inroom}.",
          "Claro, o termostato {ofroom} está em {degrees} graus."}},
    [SYNTH_PLAY_MUSIC] =
        {{"Toque {artist}.", "Toque música de {artist}.", "Quero ouvir {artist}.",
          "Coloque {artist}, por favor.", "Toque canções de {artist}.",
          "Me deixe ouvir {artist}.", "Toque alguma coisa de {artist}.", "Música de {artist}, obrigado.",
          "Pode tocar {artist}?"},
         {"Eu gostaria de ouvir {artist}.", "Você pode tocar música de {artist}?",
          "Coloque canções de {artist}."},
         {"Certo, tocando {artist}.", "Aqui está a música de {artist}.", "Agora toca {artist}.",
          "Claro, canções de {artist}."},
         {"Procure {artist} e toque.", "Estou com vontade de ouvir {artist}.",
          "Podemos ouvir {artist} agora?", "Eu queria ouvir algo de {artist}.",
          "Você pode começar com {artist}?", "Toque as músicas novas de {artist}."}},
    [SYNTH_SET_ALARM] =
        {{"Coloque um alarme às {time}.", "Me acorde às {time}.", "Preciso de um alarme às {time}.",
          "Alarme às {time}, por favor.",
          "Por favor, me acorde às {time}.", "Ponha o despertador às {time}.",
          "Pode colocar um alarme para as {time}?",
          "Tenho que levantar às {time}.", "Faça o alarme tocar às {time}."},
         {"Você pode me acordar às {time}?", "Ponha o alarme às {time}, por favor.",
          "Quero um alarme para as {time}."},
         {"Certo, alarme às {time}.", "Acordo você às {time}.", "Seu alarme está marcado para as {time}.",
          "Claro, o alarme vai tocar às {time}."}},
    [SYNTH_CREATE_EVENT] =
        {{"Adicione {title} {onday} às {time}.", "Coloque {title} na minha agenda {onday} às {time}.",
          "Marque {title} para {day} às {time}.",
          "Novo evento: {title}, {day}, {time}.", "Tenho {title} {onday} às {time}.",
          "Anote {title}, {day}, {time}.",
          "{day} às {time}: {title}. Adicione.", "Crie o evento {title} {onday} às {time}.",
          "Às {time} {onday} tenho {title}, anote."},
         {"Você pode adicionar {title} {onday} às {time}?", "Anote {title} {onday} às {time} na agenda.",
          "Marque {title}, {day} às {time}, por favor."},
         {"Certo, {title} {onday} às {time}.", "{title} está na sua agenda {onday} às {time}.",
          "Adicionado: {title}, {day}, {time}.",
          "Claro, {title} marcado para {day} às {time}."},
         {"Você pode anotar {title} {onday} às {time}?",
          "É preciso adicionar {title} {onday} às {time}.",
          "Eu gostaria de ter {title} {onday} às {time} na agenda.",
          "Você pode colocar {title} para {day} às {time}?", "Lembre {title} {onday} às {time}."}},
    [SYNTH_SEND_MESSAGE] =
        {{"Diga a {to}: {text}.", "Envie uma mensagem para {to}: {text}.", "Escreva para {to}: {text}.",
          "Mensagem para {to}: {text}.",
          "Avise {to}: {text}.", "Envie \"{text}\" para {to}.", "Escreva \"{text}\" para {to}, por favor.",
          "Mande para {to}: {text}.",
          "Por favor, escreva para {to}: {text}."},
         {"Mande uma mensagem para {to}: {text}.", "Você pode dizer a {to}: {text}?",
          "Mande \"{text}\" para {to}."},
         {"Certo, digo a {to}: {text}.", "Mensagem enviada para {to}: {text}.", "Escrevi para {to}: {text}.",
          "Claro, \"{text}\" enviado para {to}."},
         {"Você pode escrever para {to}: {text}?", "Envie isto para {to}: {text}.",
          "Por favor, avise {to}: {text}.", "Uma mensagem para {to}: {text}.",
          "Você pode mandar \"{text}\" para {to}?"}},
    [SYNTH_FIND_FLIGHT] =
        {{"Procure um voo de {from} para {to}.", "Quero voar de {from} para {to}.",
          "Voos de {from} para {to}, por favor.",
          "Mostre voos de {from} para {to}.", "Preciso de um voo para {to} saindo de {from}.",
          "Um avião de {from} para {to}, obrigado.",
          "Tem voo de {from} para {to}?", "Procure um voo para {to} com saída de {from}.",
          "Encontre voos de {from} até {to}."},
         {"Você pode procurar voos de {from} para {to}?", "Eu queria um voo de {from} para {to}.",
          "Procure voos para {to} saindo de {from}, por favor."},
         {"Certo, voos de {from} para {to}.", "Procuro um voo de {from} para {to}.",
          "Aqui estão os voos de {from} para {to}.",
          "Claro, vejo os voos de {from} para {to}."},
         {"Você pode mostrar voos de {from} para {to}?",
          "Estou procurando um voo para {to} de {from}.",
          "Eu gostaria de ver voos de {from} para {to}."}},
    [SYNTH_BOOK_HOTEL] =
        {{"Reserve um hotel em {city} por {nights} noites.",
          "Preciso de um hotel em {city} por {nights} noites.",
          "{nights} noites em {city}, reserve um hotel.",
          "Reserve um quarto de hotel em {city} por {nights} noites.",
          "Ache um hotel em {city}, {nights} noites.", "Fico {nights} noites em {city}, reserve um hotel.",
          "Hotel em {city}, {nights} noites, obrigado.", "Um quarto de hotel em {city} para {nights} noites.",
          "Por favor, reserve {nights} noites de hotel em {city}."},
         {"Você pode reservar um hotel em {city} por {nights} noites?",
          "Eu queria um hotel em {city} por {nights} noites.",
          "Reserve {nights} noites em um hotel em {city}."},
         {"Certo, um hotel em {city} por {nights} noites.",
          "Seu hotel em {city} está reservado por {nights} noites.",
          "Pronto: {nights} noites em {city}.", "Claro, {nights} noites de hotel em {city}."},
         {"Você pode procurar um hotel em {city} por {nights} noites?",
          "Eu gostaria de passar {nights} noites em um hotel em {city}.",
          "Encontre um quarto em {city} por {nights} noites."}},
    [SYNTH_BOOK_TABLE] =
        {{"Reserve uma mesa no restaurante {name} para {people} pessoas às {time}.",
          "Uma mesa para {people} no restaurante {name}, {time}.",
          "Uma mesa no {name} às {time} para {people} pessoas, obrigado.",
          "Somos {people} e queremos comer no {name} às {time}.",
          "Mesa para {people} no {name} às {time}.", "Reserve no {name}, {people} pessoas, {time}.",
          "Às {time} preciso de uma mesa para {people} no {name}.",
          "Peça uma mesa no restaurante {name} para {people} às {time}.",
          "Jantar no {name} para {people} pessoas às {time}, reserve."},
         {"Você pode reservar uma mesa para {people} pessoas no {name} às {time}?",
          "Eu queria uma mesa no {name} para {people} às {time}.",
          "Reserve uma mesa no {name} às {time} para {people} pessoas."},
         {"Certo, {name} para {people} pessoas às {time}.",
          "Sua mesa no {name} está reservada para {people} às {time}.",
          "Pronto: {people} pessoas no {name}, {time}.",
          "Claro, uma mesa para {people} no {name} às {time}."},
         {"Podemos comer no {name} às {time}? Somos {people}.",
          "Eu gostaria de uma mesa no {name} às {time} para {people}.",
          "Nós queremos uma mesa para {people} pessoas no {name} às {time}.",
          "Você pode reservar o {name} às {time} para {people}?",
          "Encontre uma mesa no {name} para {people} às {time}."}},
    [SYNTH_CONTACT] =
        {{"Novo contato: {name}, {city}, {phone}.", "Salve {name} de {city}, telefone {phone}.",
          "{name} mora em {city}, número {phone}.",
          "Adicione {name} em {city} com o número {phone}.",
          "Aqui é {name} de {city}, meu telefone é {phone}.",
          "O número de {name} em {city} é {phone}.", "Contato {name}, telefone {phone}, cidade {city}.",
          "Ligue para {name} em {city} no {phone}.", "Anote {name}, {phone}, de {city}."},
         {"Salve o contato {name}, {phone}, de {city}.", "Adicione {name} de {city}, número {phone}.",
          "{name} em {city} tem o número de telefone {phone}."},
         {"Certo, {name} em {city}, telefone {phone}.", "Salvo: {name} de {city}, {phone}.",
          "{name} de {city} tem o número {phone}.",
          "Claro, anotado: {name}, {city}, {phone}."},
         {"Você pode anotar {name}, {city}, {phone}?",
          "O número de telefone de {name} de {city} é {phone}.",
          "Por favor, guarde o contato de {name} de {city}, telefone {phone}."}},
    [SYNTH_EXPENSE] =
        {{"Gastei {amount} reais com {item}.", "Despesa: {item}, {amount} reais.",
          "{amount} reais com {item}.", "Adicione {amount} reais de {item}.",
          "Paguei {amount} reais por {item}.", "Anote uma despesa: {item}, {amount} reais.",
          "Gastei {amount} reais: {item}.",
          "Registre {item}, {amount} reais.", "Lance {amount} reais em {item}."},
         {"Tive que pagar {amount} reais por {item}.", "Anote uma despesa de {amount} reais com {item}.",
          "Registre a despesa {item}, {amount} reais."},
         {"Certo, {amount} reais com {item}.", "Anotado: {item}, {amount} reais.",
          "{amount} reais com {item}, registrado.",
          "Claro, {item}: {amount} reais."},
         {"Você pode adicionar {amount} reais de {item}?", "Por {item} eu dei {amount} reais.",
          "Escreva uma despesa de {amount} reais, {item}.",
          "Guarde a despesa de {item}: {amount} reais.", "Tive {amount} reais de despesas com {item}."}},
    [SYNTH_ORDER] =
        {{"Peça {count} {product}.", "Preciso de {count} {product}.", "Por favor, peça {count} {product}.",
          "Queremos {count} {product}.",
          "{count} {product}, por favor.", "Compre {count} {product} para nós.",
          "Pode me dar {count} {product}?", "Envie {count} {product} para nós.",
          "Novo pedido: {product}, {count} unidades."},
         {"Eu queria pedir {count} {product}.", "Precisamos comprar {count} {product}.",
          "Você pode pedir {count} {product}?"},
         {"Certo, {count} {product}.", "Seu pedido: {count} {product}.", "{count} {product}, pedido feito.",
          "Claro, peço {count} {product}."},
         {"Você pode trazer {count} {product}?", "Quero comprar {count} {product}.",
          "Nós gostaríamos de pedir {count} {product}."}},
    [SYNTH_APPOINTMENT] =
        {{"{name} tem consulta {onday} às {time}.", "Consulta para {name}, {day}, {time}.",
          "Meu nome é {name} e posso ir {onday} às {time}.",
          "Marque {name} para {day} às {time}.", "{day} às {time} para {name}, obrigado.",
          "Um horário {onday} às {time} para {name}.",
          "{name} vem {onday} às {time}.", "Às {time} {onday}: {name}.",
          "Dê um horário a {name} {onday} às {time}."},
         {"Marque uma consulta para {name} {onday} às {time}.", "{name} virá {onday} às {time}.",
          "Anote {name}, {day}, {time}."},
         {"Certo, {name} {onday} às {time}.", "Anotado: {name}, {day}, {time}.",
          "{name} tem consulta {onday} às {time}.",
          "Claro, {name} tem horário {onday} às {time}."},
         {"Você pode anotar {name} {onday} às {time}?", "{name} quer vir {onday} às {time}.",
          "Reserve {onday} às {time} para {name}."}},
    [SYNTH_TRIP] =
        {{"Uma viagem de {from} para {to} por {nights} noites.",
          "Viajo de {from} para {to} e fico {nights} noites.",
          "Vamos de {from} para {to}, {nights} noites.", "{nights} noites em {to}, saindo de {from}.",
          "Planeje uma viagem de {from} para {to}, {nights} noites.",
          "De {from} para {to} por {nights} noites, por favor.",
          "Pedido de viagem: {from} para {to}, {nights} noites.",
          "Saio de {from} rumo a {to} e fico {nights} noites.",
          "A gente vai para {to} saindo de {from}, {nights} noites."},
         {"Quero viajar de {from} para {to} por {nights} noites.",
          "Anote uma viagem de {from} para {to}, {nights} noites.",
          "Viajamos para {to} saindo de {from} por {nights} noites."},
         {"Certo, de {from} para {to} por {nights} noites.",
          "Sua viagem: {from} para {to}, {nights} noites.", "{nights} noites em {to}, vindo de {from}.",
          "Claro, uma viagem de {from} para {to}, {nights} noites."},
         {"Eu gostaria de ir de {from} para {to} por {nights} noites.",
          "Escreva nossa viagem de {from} para {to}, {nights} noites.",
          "Queremos sair de {from} para {to}, {nights} noites."}},
    [SYNTH_PERSON] =
        {{"{name} tem {age} anos e mora em {city}.", "Meu nome é {name}, tenho {age} anos e sou de {city}.",
          "{name}, {age} anos, de {city}.",
          "{name} de {city} tem {age} anos.", "Esta pessoa é {name}, {age} anos, de {city}.",
          "Sou {name}, {age} anos, e moro em {city}.",
          "Em {city} mora {name}, de {age} anos.", "{name} vive em {city} e tem {age} anos.",
          "Pessoa: {name}, idade {age}, cidade {city}."},
         {"Moro em {city}, meu nome é {name} e tenho {age} anos.", "{name} tem {age} anos e vem de {city}.",
          "Aqui está {name} de {city}, {age} anos."},
         {"Certo, {name}, {age} anos, de {city}.", "{name} tem {age} anos e mora em {city}.",
          "Anotado: {name} de {city}, {age} anos.",
          "Claro, {name} em {city} tem {age} anos."},
         {"Venho de {city}, sou {name} e tenho {age} anos.",
          "Minha amiga {name} de {city} tem {age} anos.",
          "Tenho {age} anos, meu nome é {name} e moro em {city}."}},
    [SYNTH_SET_TIMER] =
        {{"Coloque um timer de {minutes} minutos.", "Inicie um timer, {minutes} minutos.",
          "Timer de {minutes} minutos, por favor.",
          "Me avise em {minutes} minutos.", "Conte {minutes} minutos."},
         {NULL},
         {"Certo, timer de {minutes} minutos.", "Seu timer vai correr {minutes} minutos.",
          "{minutes} minutos, a partir de agora."}},
    [SYNTH_GET_WEATHER] =
        {{"Como vai estar o tempo em {city} {onday}?", "O tempo em {city}, {day}, por favor.",
          "Vai chover em {city} {onday}?",
          "Me diga o tempo {onday} em {city}.", "Quero a previsão de {city} para {day}."},
         {NULL},
         {"Vejo o tempo em {city} para {day}.", "Já vem a previsão de {city} para {day}.",
          "Certo, o tempo em {city}, {day}."}},
};

static const char *const pt_open[] = {
    "Oi! ", "Olá. ", "Bom dia. ", "Um pedido: ", "Escuta. ", "Uma coisa: ", NULL};
static const char *const pt_open_held[] = {"Boa tarde. ", "Oi, oi! ", "Um favor: ", NULL};

static const synth_pair pt_chat[] = {
    {"Olá!", "Olá! Como posso ajudar?"},
    {"Muito obrigado.", "De nada."},
    {"Como vai você?", "Vou bem, obrigado."},
    {"Me conte uma piada.", "Sou melhor ajudando do que contando piadas."},
    {"Qual é o seu nome?", "Sou o seu assistente."},
    {"Quem escreveu este livro?", "Não sei, desculpe."},
    {"Estou com tédio.", "Uma caminhada curta pode ajudar."},
    {"Boa noite.", "Boa noite, durma bem."},
    {"Você gosta de gatos?", "Gatos são animais lindos."},
    {"Qual é o sentido da vida?", "Essa é uma grande pergunta."},
    {"Você sabe cozinhar?", "Não, mas posso ajudar a planejar."},
    {"Foi ótimo!", "Que bom que você gostou."},
    {NULL, NULL}};

static const char *const pt_keys[] = {
    "nome", "cidade", "telefone", "rua", "cor", "código", "artigo", "animal", "dia", "hora", "preço",
    "cliente", "título", NULL};
static const char *const pt_ask[] = {
    "O que está em {key}?", "Me diga: {key}.", "Qual é o valor de {key}?", "{key}?", NULL};
static const char *const pt_repeat[] = {"Repita: {items}", "Diga de novo: {items}", "Copie: {items}", NULL};
static const char *const pt_list[] = {"Um por linha: {items}", "Faça uma lista: {items}", NULL};
static const char *const pt_syllables[] = {
    "ba", "be", "bra", "ca", "ção", "co", "da", "do", "é", "fa", "ga", "gua", "ja", "jo", "la", "lha", "lí",
    "ma", "mi", "na", "nho", "nó", "pa", "pe", "que", "ra", "ri", "são", "sa", "ta", "tê", "tro", "va",
    "vi", "xa", "zu", NULL};

const synth_lang synth_pt = {
    .locale = "pt-BR", .rooms = pt_rooms, .days = pt_days,
    .pools = {pt_names, pt_cities, pt_artists, pt_restaurants, pt_titles, pt_items, pt_products, pt_texts},
    .phrases = pt_phrases, .open = pt_open, .open_held = pt_open_held, .chat = pt_chat,
    .keys = pt_keys, .ask = pt_ask, .repeat = pt_repeat, .list = pt_list,
    .syllables = pt_syllables, .comma = ", ", .swap = NULL};
